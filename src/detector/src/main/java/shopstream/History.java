package shopstream;

import java.nio.ByteBuffer;
import java.util.Arrays;

/**
 * What one actor did in the last minutes, in the order of time, as bytes: one value of state per actor.
 *
 * <p>Here it is decided what an action is (docs/detection.md): a view of another thing, or the first cart, removal or
 * purchase of a second. The same thing again within a short time is an echo, and nothing.
 */
final class History {

    /** Of one kind by one session, this close to the first of them: one action. */
    static final long BATCH_MS = 1_000;

    /** The same thing by the same session, this close: an echo, such as a server that records a removal twice. */
    static final long ECHO_MS = 2_000;

    /** So many entries are kept at most, the newest. Then counts say "at least". */
    static final int MAX_ENTRIES = 1_000;

    private static final byte VERSION = 2;
    private static final int HEAD = 1; // version
    private static final int KIND = Long.BYTES;
    private static final int FLAGS = KIND + 1;
    private static final int SESSION = FLAGS + 1;
    private static final int THING = SESSION + Long.BYTES;
    private static final int KEY = THING + Long.BYTES;
    private static final int ENTRY = KEY + Long.BYTES;

    private static final int IS_ACTION = 1;
    private static final int IS_ECHO = 2;
    private static final int IS_PRODUCT = 4; // its thing is a product, not a page

    private final LongSet set = new LongSet();

    private ByteBuffer bytes = ByteBuffer.allocate(HEAD + 16 * ENTRY);
    private int from; // the first entry that counts
    private int to; // after the last one

    /** Reads a state; null is that of an actor that was not seen before. */
    void load(byte[] state) {
        from = 0;
        to = 0;
        if (state == null || state[0] != VERSION) {
            return; // of a version that this one does not know: begin anew
        }
        room((state.length - HEAD) / ENTRY);
        System.arraycopy(state, 0, bytes.array(), 0, state.length);
        to = (state.length - HEAD) / ENTRY;
    }

    byte[] save() {
        byte[] state = new byte[HEAD + (to - from) * ENTRY];
        System.arraycopy(bytes.array(), place(from), state, HEAD, state.length - HEAD);
        state[0] = VERSION;
        return state;
    }

    /** Returns the time of a state's newest entry; the least number if this version does not know the state's. */
    static long newestAt(byte[] state) {
        return state[0] == VERSION ? ByteBuffer.wrap(state).getLong(state.length - ENTRY) : Long.MIN_VALUE;
    }

    boolean isEmpty() {
        return from == to;
    }

    /** Forgets what happened at this time or before. */
    void forgetUntil(long time) {
        while (from < to && at(from) <= time) {
            from++;
        }
    }

    boolean holds(Event event) {
        for (int i = to - 1; i >= from && at(i) >= event.at; i--) {
            if (at(i) == event.at && bytes.getLong(place(i) + KEY) == event.key) {
                return true;
            }
        }
        return false;
    }

    /** Adds an event that is not older than the newest. Returns false if it is a repeated delivery. */
    boolean add(Event event) {
        if (holds(event)) {
            return false;
        }
        if (to - from == MAX_ENTRIES) {
            from++;
        }
        room(to + 1);
        int flags = event.product == null ? 0 : IS_PRODUCT;
        if (isEcho(event)) {
            flags |= IS_ECHO;
        } else if (event.kind == Event.VIEW || !isInBatch(event)) {
            flags |= IS_ACTION;
        }
        int place = place(to);
        bytes.putLong(place, event.at);
        bytes.put(place + KIND, event.kind);
        bytes.put(place + FLAGS, (byte) flags);
        bytes.putLong(place + SESSION, event.session);
        bytes.putLong(place + THING, event.thing);
        bytes.putLong(place + KEY, event.key);
        to++;
        return true;
    }

    /** Within one second for a view: looking again later is another look. */
    private boolean isEcho(Event event) {
        long since = event.kind == Event.VIEW ? event.at - BATCH_MS + 1 : event.at - ECHO_MS;
        for (int i = to - 1; i >= from && at(i) >= since; i--) {
            if (is(i, event.kind, event.session)
                    && bytes.getLong(place(i) + THING) == event.thing
                    && (flags(i) & IS_ECHO) == 0) {
                return true;
            }
        }
        return false;
    }

    private boolean isInBatch(Event event) {
        for (int i = to - 1; i >= from && at(i) > event.at - BATCH_MS; i--) {
            if (is(i, event.kind, event.session) && (flags(i) & IS_ACTION) != 0) {
                return true;
            }
        }
        return false;
    }

    private boolean is(int i, byte kind, long session) {
        return bytes.get(place(i) + KIND) == kind && bytes.getLong(place(i) + SESSION) == session;
    }

    /** Returns how many actions began at this time. */
    int actionsAt(long time) {
        int actions = 0;
        for (int i = to - 1; i >= from && at(i) >= time; i--) {
            actions += at(i) == time ? flags(i) & IS_ACTION : 0;
        }
        return actions;
    }

    /** Counts what happened in (end - length, end], where `end` is the time of the newest entry. */
    void count(long lengthMs, Counts counts) {
        int first = to;
        long start = at(to - 1) - lengthMs;
        while (first > from && at(first - 1) > start) {
            first--;
        }
        counts.clear();
        boolean hasCarts = false;
        for (int i = first; i < to; i++) {
            byte kind = bytes.get(place(i) + KIND);
            int flags = flags(i);
            counts.actions += flags & IS_ACTION;
            if (kind == Event.CART) {
                hasCarts = true;
                counts.carts += (flags & IS_ECHO) == 0 ? 1 : 0;
            } else if (kind == Event.PURCHASE) {
                counts.purchases += flags & IS_ACTION;
            }
        }
        set.clear(to - first);
        for (int i = first; i < to; i++) {
            if (bytes.get(place(i) + KIND) == Event.VIEW && (flags(i) & IS_PRODUCT) != 0) {
                set.add(bytes.getLong(place(i) + THING));
            }
        }
        counts.products = set.size();
        set.clear(to - first);
        for (int i = first; i < to; i++) {
            long session = bytes.getLong(place(i) + SESSION);
            if (session != 0) {
                set.add(session);
            }
        }
        counts.sessions = set.size();
        counts.cartsLeft = hasCarts ? cartsLeft(first) : 0;
    }

    /** Returns how many products the last that happened to was a cart. From the newest on, so each product counts once. */
    private int cartsLeft(int first) {
        set.clear(to - first);
        int left = 0;
        for (int i = to - 1; i >= first; i--) {
            byte kind = bytes.get(place(i) + KIND);
            if ((flags(i) & IS_PRODUCT) == 0) {
                if (kind == Event.PURCHASE) {
                    return left; // an order without its products: all that was in the cart before
                }
            } else if (kind != Event.VIEW && set.add(bytes.getLong(place(i) + THING)) && kind == Event.CART) {
                left++;
            }
        }
        return left;
    }

    private long at(int i) {
        return bytes.getLong(place(i));
    }

    private int flags(int i) {
        return bytes.get(place(i) + FLAGS);
    }

    private static int place(int i) {
        return HEAD + i * ENTRY;
    }

    private void room(int entries) {
        if (place(entries) > bytes.capacity()) {
            bytes = ByteBuffer.wrap(Arrays.copyOf(bytes.array(), 2 * place(entries)));
        }
    }

    /** What was counted in one window. */
    static final class Counts {
        long actions;
        long products;
        long sessions;
        long carts;
        long cartsLeft;
        long purchases;

        void clear() {
            actions = 0;
            products = 0;
            sessions = 0;
            carts = 0;
            cartsLeft = 0;
            purchases = 0;
        }
    }
}
