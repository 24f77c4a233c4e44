package shopstream;

import java.nio.ByteBuffer;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.apache.flink.streaming.runtime.streamrecord.StreamRecord;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.StringData;

/**
 * Counts the actors of each crowd in the last seconds: who acted on a product, or from an address. A row for each second
 * in which somebody did, once the watermark has passed it, and for each length of window that a rule asks for.
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

    private static final int HEAD = Integer.BYTES; // the last second of all
    private static final int ENTRY = Integer.BYTES + Long.BYTES; // last second, actor

    private final Of of;
    private final int[] windowsS;
    private final int longestS;

    public CrowdActivity(Of of, int[] windowsS) {
        this.of = of;
        this.windowsS = windowsS;
        longestS = IntStream.of(windowsS).max().orElse(1);
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
        return (ByteBuffer.wrap(history).getInt() + longestS) * 1000L;
    }

    @Override
    void processLate(Event event) {} // ActorActivity counts it

    @Override
    byte[] judge(String name, byte[] history, List<Event> due, long watermark) {
        Map<Long, Integer> lastSeconds = load(history);
        StringData subject = StringData.fromString(of.prefix + name);
        int second = 0;
        for (int i = 0; i < due.size(); ) {
            second = SiteActivity.secondOf(due.get(i).at);
            int first = second - longestS + 1;
            lastSeconds.values().removeIf(last -> last < first);
            for (; i < due.size() && SiteActivity.secondOf(due.get(i).at) == second; i++) {
                // Whose actor is not known counts as somebody of its own.
                Event event = due.get(i);
                long actor = event.actor == null ? event.key : Contract.hash(event.actor);
                if (lastSeconds.size() < of.maxActors || lastSeconds.containsKey(actor)) {
                    lastSeconds.put(actor, second);
                }
            }
            emit(second, lastSeconds, subject);
        }
        return save(second, lastSeconds);
    }

    private void emit(int now, Map<Long, Integer> lastSeconds, StringData subject) {
        for (int windowS : windowsS) {
            long count = 0;
            for (int second : lastSeconds.values()) {
                count += second > now - windowS ? 1 : 0;
            }
            GenericRowData row = Views.row(Views.CROWD_ACTIVITY, subject, now * 1000L, windowS);
            row.setField(4, count);
            output.collect(new StreamRecord<>(row));
        }
    }

    private static Map<Long, Integer> load(byte[] history) {
        Map<Long, Integer> lastSeconds = new HashMap<>();
        if (history != null) {
            ByteBuffer bytes = ByteBuffer.wrap(history, HEAD, history.length - HEAD);
            while (bytes.hasRemaining()) {
                int second = bytes.getInt();
                lastSeconds.put(bytes.getLong(), second);
            }
        }
        return lastSeconds;
    }

    private static byte[] save(int second, Map<Long, Integer> lastSeconds) {
        ByteBuffer bytes = ByteBuffer.allocate(HEAD + lastSeconds.size() * ENTRY).putInt(second);
        for (Map.Entry<Long, Integer> one : lastSeconds.entrySet()) {
            bytes.putInt(one.getValue()).putLong(one.getKey());
        }
        return bytes.array();
    }
}
