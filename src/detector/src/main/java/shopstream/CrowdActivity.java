package shopstream;

import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.flink.streaming.runtime.streamrecord.StreamRecord;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.StringData;

/**
 * Counts the actors of each crowd in the last seconds: who acted on a product, or from an address. A row for each second
 * in which somebody did, once the watermark has passed it, and for each window and baseline that a rule asks for.
 *
 * <p>The baseline is how many actors were usual. For it an actor counts once in each window of the clock. So a number is
 * kept for each of these, and not each actor for so long.
 */
public final class CrowdActivity extends KeyedActivity {

    private static final long serialVersionUID = 1;

    /** What actors have in common. */
    public enum Of {
        PRODUCT("product#", 10_000),
        ADDRESS("ip#", 2_000);

        private final String prefix;
        private final int maxActors; // so many are kept at most; then counts say "at least"

        Of(String prefix, int maxActors) {
            this.prefix = prefix;
            this.maxActors = maxActors;
        }

        /** Returns the product or address of an event, or null. */
        String name(Event event) {
            return this == PRODUCT ? event.product : event.address;
        }
    }

    private static final byte VERSION = 2; // the first one had none: there it is a part of the second
    private static final int HEAD = 1 + Integer.BYTES + Integer.BYTES; // version, the last second of all, actors
    private static final int ACTOR = Integer.BYTES + Long.BYTES; // last second, actor
    private static final int WINDOW = 3 * Integer.BYTES; // length, number on the clock, actors

    private final Of of;
    private final int[][] windowsS; // window and baseline
    private final int longestS; // of the windows
    private final TreeMap<Integer, Integer> baselinesS = new TreeMap<>(); // the longest one of each window that has some

    public CrowdActivity(Of of, int[][] windowsS) {
        this.of = of;
        this.windowsS = windowsS;
        longestS = Arrays.stream(windowsS).mapToInt(pair -> pair[0]).max().orElse(1);
        for (int[] pair : windowsS) {
            if (usualWindows(pair[0], pair[1]) > 0) {
                baselinesS.merge(pair[0], pair[1], Math::max);
            }
        }
    }

    @Override
    String keyOf(Event event) {
        return of.name(event);
    }

    @Override
    long dueAt(Event event) {
        return SiteActivity.secondOf(event.at) * 1000L;
    }

    @Override
    long overAt(byte[] history) {
        if (history[0] != VERSION) {
            return Long.MIN_VALUE;
        }
        int reachS = baselinesS.values().stream().reduce(longestS, Math::max);
        return (ByteBuffer.wrap(history).getInt(1) + reachS) * 1000L;
    }

    @Override
    void processLate(Event event) {} // ActorActivity counts it

    @Override
    byte[] judge(String name, byte[] history, List<Event> due, long watermark) {
        Crowd crowd = load(history);
        int second = 0;
        for (int i = 0; i < due.size(); ) {
            second = SiteActivity.secondOf(due.get(i).at);
            crowd.forgetUntil(second - longestS);
            int first = i;
            for (; i < due.size() && SiteActivity.secondOf(due.get(i).at) == second; i++) {
                // Whose actor is not known counts as somebody of its own.
                Event event = due.get(i);
                crowd.add(second, event.actor == null ? event.key : Contract.hash(event.actor));
            }
            emit(second, crowd, Views.subject(of.prefix + name, due.subList(first, i)));
        }
        return crowd.save(second);
    }

    private void emit(int now, Crowd crowd, StringData subject) {
        for (int[] pair : windowsS) {
            int windowS = pair[0];
            int usualWindows = usualWindows(windowS, pair[1]);
            GenericRowData row = Views.row(Views.CROWD_ACTIVITY, subject, now * 1000L, windowS);
            row.setField(4, pair[1]);
            row.setField(5, crowd.actorsSince(now - windowS));
            row.setField(6, usualWindows == 0 ? 0L : crowd.usualActors(now, windowS, usualWindows));
            row.setField(7, (long) usualWindows);
            output.collect(new StreamRecord<>(row));
        }
    }

    /** Returns how many whole windows of the clock are always between the start of a baseline and that of the window. */
    private static int usualWindows(int windowS, int baselineS) {
        return Math.max(0, baselineS / windowS - 2);
    }

    /** Returns the window of the clock that a second belongs to: with 10 s, seconds 1 to 10 are in window 0. */
    private static int windowOf(int second, int windowS) {
        return Math.floorDiv(second - 1, windowS);
    }

    private Crowd load(byte[] history) {
        Crowd crowd = new Crowd();
        if (history == null || history[0] != VERSION) {
            return crowd; // of a version that this one does not know: begin anew
        }
        ByteBuffer bytes = ByteBuffer.wrap(history, 1 + Integer.BYTES, history.length - 1 - Integer.BYTES);
        for (int actors = bytes.getInt(); actors > 0; actors--) {
            int second = bytes.getInt();
            crowd.lastSeconds.put(bytes.getLong(), second);
        }
        while (bytes.hasRemaining()) {
            TreeMap<Integer, Integer> counts = crowd.counts.get(bytes.getInt());
            int window = bytes.getInt();
            int count = bytes.getInt();
            if (counts != null) { // null: no rule asks for this length any more
                counts.put(window, count);
            }
        }
        return crowd;
    }

    /** Who acted of late, and how many did in each window of the clock. */
    private final class Crowd {

        final Map<Long, Integer> lastSeconds = new HashMap<>();
        final Map<Integer, TreeMap<Integer, Integer>> counts = new HashMap<>(); // by length and number of the window

        Crowd() {
            for (int windowS : baselinesS.keySet()) {
                counts.put(windowS, new TreeMap<>());
            }
        }

        void forgetUntil(int last) {
            lastSeconds.values().removeIf(second -> second <= last);
        }

        void add(int second, long actor) {
            if (lastSeconds.size() >= of.maxActors && !lastSeconds.containsKey(actor)) {
                return;
            }
            Integer before = lastSeconds.put(actor, second);
            counts.forEach((windowS, own) -> {
                int window = windowOf(second, windowS);
                if (before == null || windowOf(before, windowS) != window) {
                    own.merge(window, 1, Integer::sum);
                }
            });
        }

        long actorsSince(int start) {
            return lastSeconds.values().stream().filter(second -> second > start).count();
        }

        /** Returns the sum over so many windows of the clock, the last ones that end before the window of `now` begins. */
        long usualActors(int now, int windowS, int usualWindows) {
            int end = windowOf(now - windowS + 1, windowS); // the first that does not
            return counts.get(windowS).subMap(end - usualWindows, end).values().stream()
                    .mapToLong(Integer::longValue)
                    .sum();
        }

        byte[] save(int now) {
            baselinesS.forEach((windowS, baselineS) -> counts.get(windowS)
                    .headMap(windowOf(now - windowS + 1, windowS) - usualWindows(windowS, baselineS))
                    .clear());
            int windows = counts.values().stream().mapToInt(Map::size).sum();
            ByteBuffer bytes = ByteBuffer.allocate(HEAD + lastSeconds.size() * ACTOR + windows * WINDOW)
                    .put(VERSION)
                    .putInt(now)
                    .putInt(lastSeconds.size());
            lastSeconds.forEach((actor, second) -> bytes.putInt(second).putLong(actor));
            counts.forEach((windowS, own) ->
                    own.forEach((window, count) -> bytes.putInt(windowS).putInt(window).putInt(count)));
            return bytes.array();
        }
    }
}
