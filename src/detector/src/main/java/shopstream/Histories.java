package shopstream;

import java.io.IOException;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.Consumer;
import java.util.function.LongConsumer;
import java.util.function.ToLongFunction;
import org.apache.flink.api.common.state.ValueState;

/**
 * What is known of each key: a value of keyed state, and a cache before it.
 *
 * <p>RocksDB and timers cost many times more than all counting. So a history that changes with each event of a visit is
 * written only before a snapshot, and when the cache is full. Each one in the state has one timer, which ends in {@link
 * #forget}. What is over before it was ever written needs none.
 */
final class Histories {

    /** So large is the cache at most. */
    private static final int MAX_BYTES = 16 << 20;

    private static final int OVERHEAD = 200; // bytes of an entry, but for its history

    private final ValueState<byte[]> state;
    private final Consumer<String> choose;
    private final LongConsumer startTimer;
    private final ToLongFunction<byte[]> overAt;

    private final Map<String, Cached> cache = new LinkedHashMap<>(16, 0.75f, true); // those used last at its end
    private long bytes;

    /**
     * @param choose makes a key that of the state and the timers
     * @param startTimer starts a timer that ends in {@link #forget}
     * @param overAt returns the event time from which on a history says nothing to any event that comes
     */
    Histories(
            ValueState<byte[]> state,
            Consumer<String> choose,
            LongConsumer startTimer,
            ToLongFunction<byte[]> overAt) {
        this.state = state;
        this.choose = choose;
        this.startTimer = startTimer;
        this.overAt = overAt;
    }

    /**
     * Returns the history of the chosen key, or null.
     *
     * @param now the event time until which all events were judged
     */
    byte[] get(String key, long now) throws IOException {
        Cached cached = cache.get(key);
        if (cached == null) {
            cached = new Cached(state.value());
            cache.put(key, cached);
            bytes += cached.size();
            evict(now);
        }
        return cached.history;
    }

    /** Replaces the history of a key that was just read. */
    void put(String key, byte[] history, long now) throws IOException {
        Cached cached = cache.get(key);
        bytes -= cached.size();
        cached.history = history;
        cached.isChanged = true;
        bytes += cached.size();
        evict(now);
    }

    /** Makes room. Afterwards another key may be the chosen one. */
    private void evict(long now) throws IOException {
        if (bytes <= MAX_BYTES) {
            return;
        }
        Iterator<Map.Entry<String, Cached>> oldest = cache.entrySet().iterator();
        while (bytes > MAX_BYTES) {
            Map.Entry<String, Cached> one = oldest.next();
            write(one.getKey(), one.getValue(), now);
            bytes -= one.getValue().size();
            oldest.remove();
        }
    }

    /** Writes what has changed to the state. */
    void write(long now) throws IOException {
        for (Map.Entry<String, Cached> one : cache.entrySet()) {
            write(one.getKey(), one.getValue(), now);
        }
    }

    private void write(String key, Cached cached, long now) throws IOException {
        if (!cached.isChanged || isOver(cached.history, now)) {
            return; // what the state has of it is over too, and has a timer
        }
        choose.accept(key);
        state.update(cached.history);
        if (!cached.isStored) {
            startTimer.accept(overAt.applyAsLong(cached.history));
        }
        cached.isStored = true;
        cached.isChanged = false;
    }

    /** Forgets the history of the chosen key if it is over by now. */
    void forget(String key, long now) throws IOException {
        Cached cached = cache.get(key);
        byte[] history = cached == null ? state.value() : cached.history;
        if (!isOver(history, now)) {
            startTimer.accept(overAt.applyAsLong(history));
            return;
        }
        state.clear();
        if (cached != null) {
            bytes -= cached.size();
            cache.remove(key);
        }
    }

    private boolean isOver(byte[] history, long time) {
        return history == null || overAt.applyAsLong(history) <= time;
    }

    private static final class Cached {

        byte[] history; // or null
        boolean isStored;
        boolean isChanged;

        Cached(byte[] history) {
            this.history = history;
            isStored = history != null;
        }

        int size() {
            return OVERHEAD + (history == null ? 0 : history.length);
        }
    }
}
