package shopstream;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.stream.IntStream;
import org.apache.flink.api.common.state.ListState;
import org.apache.flink.api.common.state.ListStateDescriptor;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeinfo.PrimitiveArrayTypeInfo;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;
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

    // Timers are set to multiples of this. So an actor with thousands of events in a second wakes ten times, not thousands.
    private static final long STEP_MS = 100;
    private static final int WAITING = 4 * Long.BYTES + 2;

    private static final Comparator<Event> IN_ORDER =
            Comparator.<Event>comparingLong(event -> event.at)
                    .thenComparingInt(event -> event.kind)
                    .thenComparingLong(event -> event.key);

    private final int[] windowsS;
    private final long longestMs;

    private transient ValueState<byte[]> history; // what was judged
    private transient ListState<byte[]> waiting; // what the watermark has not passed
    private transient History entries;
    private transient History.Counts counts;

    public ActorActivity(int[] windowsS) {
        this.windowsS = windowsS;
        // What is known of an actor must reach back to the first of an event's echoes, however short the windows are.
        longestMs = Math.max(IntStream.of(windowsS).max().orElse(0) * 1000L, History.ECHO_MS);
    }

    @Override
    public void open(Configuration configuration) {
        PrimitiveArrayTypeInfo<byte[]> bytes = PrimitiveArrayTypeInfo.BYTE_PRIMITIVE_ARRAY_TYPE_INFO;
        history = getRuntimeContext().getState(new ValueStateDescriptor<>("history", bytes));
        waiting = getRuntimeContext().getListState(new ListStateDescriptor<>("waiting", bytes));
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
        context.timerService().registerEventTimeTimer(Math.floorDiv(event.at + STEP_MS - 1, STEP_MS) * STEP_MS);
    }

    @Override
    public void onTimer(long time, OnTimerContext context, Collector<RowData> out) throws Exception {
        long watermark = context.timerService().currentWatermark();
        List<Event> due = new ArrayList<>();
        List<byte[]> rest = new ArrayList<>();
        for (byte[] one : waiting.get()) {
            Event event = event(one);
            if (event.at <= watermark) {
                due.add(event);
            } else {
                rest.add(one);
            }
        }
        if (due.isEmpty()) {
            forget(time, context);
            return;
        }
        if (rest.isEmpty()) {
            waiting.clear();
        } else {
            waiting.update(rest);
        }
        entries.load(history.value());
        judge(due, context, out);
        entries.forgetUntil(watermark - longestMs);
        if (entries.isEmpty()) { // at the end of a drain
            history.clear();
            return;
        }
        if (entries.forgetAt <= time) {
            entries.forgetAt = forgetAt();
            context.timerService().registerEventTimeTimer(entries.forgetAt);
        }
        history.update(entries.save());
    }

    /** Forgets an actor that did nothing for as long as the longest window. */
    private void forget(long time, OnTimerContext context) throws Exception {
        entries.load(history.value());
        if (entries.isEmpty() || entries.forgetAt > time) {
            return;
        }
        if (entries.newestAt() + longestMs <= time) {
            history.clear();
            return;
        }
        entries.forgetAt = forgetAt();
        context.timerService().registerEventTimeTimer(entries.forgetAt);
        history.update(entries.save());
    }

    private long forgetAt() {
        // Not a multiple of the step, so it is no timer of an event.
        return Math.floorDiv(entries.newestAt() + longestMs, STEP_MS) * STEP_MS + STEP_MS + 1;
    }

    /** Judges what the watermark has passed, all at once: each timer before it finds nothing more to do. */
    private void judge(List<Event> due, OnTimerContext context, Collector<RowData> out) {
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
        for (int windowS : windowsS) {
            entries.count(windowS * 1000L, counts);
            GenericRowData row = Views.row(Views.ACTIVITY, subject, at, windowS);
            row.setField(4, counts.actions);
            row.setField(5, counts.products);
            row.setField(6, counts.sessions);
            row.setField(7, counts.carts);
            row.setField(8, counts.cartsLeft);
            row.setField(9, counts.purchases);
            out.collect(row);
        }
    }

    /** Returns what {@link History} needs of an event. */
    private static byte[] bytes(Event event) {
        return ByteBuffer.allocate(WAITING)
                .putLong(event.at)
                .put(event.kind)
                .put((byte) (event.product == null ? 0 : 1))
                .putLong(event.session)
                .putLong(event.thing)
                .putLong(event.key)
                .array();
    }

    private static Event event(byte[] bytes) {
        ByteBuffer buffer = ByteBuffer.wrap(bytes);
        Event event = new Event();
        event.at = buffer.getLong();
        event.kind = buffer.get();
        event.product = buffer.get() == 0 ? null : "";
        event.session = buffer.getLong();
        event.thing = buffer.getLong();
        event.key = buffer.getLong();
        return event;
    }
}
