package shopstream;

import java.util.Arrays;

/** A set of numbers without objects. It is cleared and filled for each window. */
final class LongSet {

    private long[] table = new long[64];
    private int mask = table.length - 1;
    private int size;
    private boolean hasZero;

    /** Empties the set, and makes room for so many numbers. */
    void clear(int numbers) {
        int room = 16;
        while (room < 2 * numbers) {
            room *= 2;
        }
        if (room > table.length) {
            table = new long[room];
        } else {
            Arrays.fill(table, 0, room, 0);
        }
        mask = room - 1;
        size = 0;
        hasZero = false;
    }

    /** Returns whether the number is new. */
    boolean add(long number) {
        if (number == 0) {
            boolean isNew = !hasZero;
            hasZero = true;
            size += isNew ? 1 : 0;
            return isNew;
        }
        int place = (int) (number * 0x9e3779b97f4a7c15L >>> 40) & mask;
        while (table[place] != 0) {
            if (table[place] == number) {
                return false;
            }
            place = place + 1 & mask;
        }
        table[place] = number;
        size++;
        return true;
    }

    int size() {
        return size;
    }
}
