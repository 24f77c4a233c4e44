package shopstream;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import org.apache.flink.api.common.state.ListState;
import org.apache.flink.api.common.state.ListStateDescriptor;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeinfo.PrimitiveArrayTypeInfo;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.core.memory.DataInputViewStreamWrapper;
import org.apache.flink.core.memory.DataOutputViewStreamWrapper;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.data.TimestampData;
import org.apache.flink.util.Collector;
import org.apache.flink.util.OutputTag;

/**
 * Counts what each actor did in the last minutes: a row for each instant in which it did something, and for each length
 * of window that a rule asks for.
 *
 * <p>Events wait until the watermark has passed them, so the order in which they arrive changes nothing. The state does
 * not depend on which rules there are, but for the longest window.
 */
public final class ActorActivity extends KeyedProcessFunction<String, Event, RowData> {

    private static final long serialVersionUID = 1;

    /** The actor of events whose actor is not known begins with this. They count for the site only, one by one. */
    public static final String UNKNOWN = "?";

    /** Time and number of actions, for the whole site. */
    public static final OutputTag<Tuple2<Long, Integer>> ACTIONS =
            new OutputTag<>("actions", Types.TUPLE(Types.LONG, Types.INT));

    /** Reasons why events were not judged. */
    public static final OutputTag<String> UNJUDGED = new OutputTag<>("unjudged", Types.STRING);

    private static final Comparator<Event> IN_ORDER =
            Comparator.<Event>comparingLong(event -> event.at)
                    .thenComparingInt(event -> event.kind)
                    .thenComparingLong(event -> event.key);

    private final int[] windowsS;
    private final long longestMs;

    private transient ValueState<byte[]> history; // what was judged
    private transient ListState<byte[]> waiting; // what the watermark has not passed
    private transient ValueState<Long> wakeAt; // the earliest timer for what waits
    private transient History entries;
    private transient History.Counts counts;

    public ActorActivity(int[] windowsS) {
        this.windowsS = windowsS;
        long longest = 1;
        for (int windowS : windowsS) {
            longest = Math.max(longest, windowS);
        }
        longestMs = longest * 1000;
    }

    @Override
    public void open(Configuration configuration) {
        PrimitiveArrayTypeInfo<byte[]> bytes = PrimitiveArrayTypeInfo.BYTE_PRIMITIVE_ARRAY_TYPE_INFO;
        history = getRuntimeContext().getState(new ValueStateDescriptor<>("history", bytes));
        waiting = getRuntimeContext().getListState(new ListStateDescriptor<>("waiting", bytes));
        wakeAt = getRuntimeContext().getState(new ValueStateDescriptor<>("wake_at", Types.LONG));
        entries = new History();
        counts = new History.Counts();
    }

    @Override
    public void processElement(Event event, Context context, Collector<RowData> out) throws Exception {
        if (event.at <= context.timerService().currentWatermark()) {
            entries.load(history.value());
            if (!entries.holds(event)) {
                context.output(UNJUDGED, Contract.LATE);
            }
            return;
        }
        waiting.add(bytes(event));
        Long wake = wakeAt.value();
        if (wake == null || event.at < wake) {
            context.timerService().registerEventTimeTimer(event.at);
            wakeAt.update(event.at);
        }
    }

    @Override
    public void onTimer(long time, OnTimerContext context, Collector<RowData> out) throws Exception {
        entries.load(history.value());
        Long wake = wakeAt.value();
        if (wake != null && wake <= time) {
            judge(context, out);
        }
        long newest = entries.isEmpty() ? Long.MIN_VALUE : entries.newestAt() + longestMs;
        if (newest <= time) {
            history.clear();
        } else {
            if (entries.forgetAt <= time) {
                entries.forgetAt = newest;
                context.timerService().registerEventTimeTimer(newest);
            }
            history.update(entries.save());
        }
    }

    /** Judges what the watermark has passed, all at once: each timer before it finds nothing more to do. */
    private void judge(OnTimerContext context, Collector<RowData> out) throws Exception {
        long watermark = context.timerService().currentWatermark();
        List<Event> due = new ArrayList<>();
        List<byte[]> rest = new ArrayList<>();
        long next = Long.MAX_VALUE;
        for (byte[] one : waiting.get()) {
            Event event = event(one);
            if (event.at <= watermark) {
                due.add(event);
            } else {
                rest.add(one);
                next = Math.min(next, event.at);
            }
        }
        due.sort(IN_ORDER);
        boolean isKnown = !context.getCurrentKey().startsWith(UNKNOWN);
        for (int i = 0; i < due.size(); ) {
            long at = due.get(i).at;
            int added = 0;
            for (; i < due.size() && due.get(i).at == at; i++) {
                added += entries.add(due.get(i)) ? 1 : 0;
            }
            if (added > 0) {
                emit(at, added, isKnown, context, out);
            }
        }
        entries.forgetUntil(watermark - longestMs);
        if (rest.isEmpty()) {
            waiting.clear();
            wakeAt.clear();
        } else {
            waiting.update(rest);
            wakeAt.update(next);
            context.timerService().registerEventTimeTimer(next);
        }
    }

    private void emit(long at, int added, boolean isKnown, OnTimerContext context, Collector<RowData> out) {
        int here = isKnown ? entries.actionsAt(at) : added;
        if (here > 0) {
            context.output(ACTIONS, Tuple2.of(at, here));
        }
        if (!isKnown) {
            return;
        }
        StringData subject = StringData.fromString(context.getCurrentKey());
        TimestampData end = TimestampData.fromEpochMillis(at);
        for (int windowS : windowsS) {
            entries.count(windowS * 1000L, counts);
            GenericRowData row = new GenericRowData(Views.ACTIVITY.getFieldCount());
            row.setField(0, subject);
            row.setField(1, TimestampData.fromEpochMillis(at - windowS * 1000L));
            row.setField(2, end);
            row.setField(3, windowS);
            row.setField(4, counts.actions);
            row.setField(5, counts.products);
            row.setField(6, counts.sessions);
            row.setField(7, counts.carts);
            row.setField(8, counts.cartsLeft);
            row.setField(9, counts.purchases);
            out.collect(row);
        }
    }

    private static byte[] bytes(Event event) throws IOException {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream(96);
        Event slim = new Event();
        slim.at = event.at;
        slim.kind = event.kind;
        slim.product = event.product == null ? null : ""; // History needs to know only that there is one
        slim.session = event.session;
        slim.thing = event.thing;
        slim.key = event.key;
        slim.write(new DataOutputViewStreamWrapper(bytes));
        return bytes.toByteArray();
    }

    private static Event event(byte[] bytes) throws IOException {
        Event event = new Event();
        event.read(new DataInputViewStreamWrapper(new ByteArrayInputStream(bytes)));
        return event;
    }
}
