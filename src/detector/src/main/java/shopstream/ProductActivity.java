package shopstream;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.apache.flink.api.common.state.ListState;
import org.apache.flink.api.common.state.ListStateDescriptor;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeinfo.PrimitiveArrayTypeInfo;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.util.Collector;

/**
 * Counts who acted on each product in the last seconds: a row for each second in which somebody did, once the watermark
 * has passed it, and for each length of window that a rule asks for.
 */
public final class ProductActivity extends KeyedProcessFunction<String, Event, RowData> {

    private static final long serialVersionUID = 1;

    /** So many actors of a product are kept at most. Then counts say "at least". */
    static final int MAX_ACTORS = 10_000;

    private static final int ENTRY = Integer.BYTES + Long.BYTES; // last second, actor

    private final int[] windowsS;
    private final int longestS;

    private transient ValueState<byte[]> actors; // of the seconds that were judged, after when to forget them
    private transient ListState<byte[]> waiting; // those that the watermark has not passed

    public ProductActivity(int[] windowsS) {
        this.windowsS = windowsS;
        longestS = IntStream.of(windowsS).max().orElse(1);
    }

    @Override
    public void open(Configuration configuration) {
        PrimitiveArrayTypeInfo<byte[]> bytes = PrimitiveArrayTypeInfo.BYTE_PRIMITIVE_ARRAY_TYPE_INFO;
        actors = getRuntimeContext().getState(new ValueStateDescriptor<>("actors", bytes));
        waiting = getRuntimeContext().getListState(new ListStateDescriptor<>("waiting", bytes));
    }

    @Override
    public void processElement(Event event, Context context, Collector<RowData> out) throws Exception {
        if (event.at <= context.timerService().currentWatermark()) {
            return; // late: ActorActivity counts it
        }
        int second = SiteActivity.secondOf(event.at);
        // Whose actor is not known counts as somebody of its own.
        long actor = event.actor == null ? event.key : Contract.hash(event.actor);
        waiting.add(ByteBuffer.allocate(ENTRY).putInt(second).putLong(actor).array());
        context.timerService().registerEventTimeTimer(second * 1000L);
    }

    @Override
    public void onTimer(long time, OnTimerContext context, Collector<RowData> out) throws Exception {
        int now = (int) Math.floorDiv(time, 1000L);
        Map<Long, Integer> lastSeconds = new HashMap<>();
        byte[] state = actors.value();
        int forgetAt = state == null ? now : ByteBuffer.wrap(state).getInt();
        if (state != null) {
            ByteBuffer bytes = ByteBuffer.wrap(state, Integer.BYTES, state.length - Integer.BYTES);
            while (bytes.hasRemaining()) {
                int second = bytes.getInt();
                long actor = bytes.getLong();
                if (second > now - longestS) {
                    lastSeconds.put(actor, second);
                }
            }
        }
        List<byte[]> rest = new ArrayList<>();
        boolean isActive = false;
        for (byte[] one : waiting.get()) {
            ByteBuffer entry = ByteBuffer.wrap(one);
            int second = entry.getInt();
            if (second > now) {
                rest.add(one);
                continue;
            }
            isActive = true;
            long actor = entry.getLong();
            if (lastSeconds.size() < MAX_ACTORS || lastSeconds.containsKey(actor)) {
                lastSeconds.merge(actor, second, Math::max);
            }
        }
        if (isActive) {
            if (rest.isEmpty()) {
                waiting.clear();
            } else {
                waiting.update(rest);
            }
            emit(now, lastSeconds, context.getCurrentKey(), out);
        } else if (forgetAt > now) {
            return;
        }
        if (lastSeconds.isEmpty()) {
            actors.clear();
            return;
        }
        if (forgetAt <= now) {
            forgetAt = now + longestS;
            context.timerService().registerEventTimeTimer(forgetAt * 1000L);
        }
        ByteBuffer kept = ByteBuffer.allocate(Integer.BYTES + lastSeconds.size() * ENTRY).putInt(forgetAt);
        for (Map.Entry<Long, Integer> one : lastSeconds.entrySet()) {
            kept.putInt(one.getValue()).putLong(one.getKey());
        }
        actors.update(kept.array());
    }

    private void emit(int now, Map<Long, Integer> lastSeconds, String product, Collector<RowData> out) {
        StringData subject = StringData.fromString("product#" + product);
        for (int windowS : windowsS) {
            long count = 0;
            for (int second : lastSeconds.values()) {
                count += second > now - windowS ? 1 : 0;
            }
            GenericRowData row = Views.row(Views.PRODUCT_ACTIVITY, subject, now * 1000L, windowS);
            row.setField(4, count);
            out.collect(row);
        }
    }
}
