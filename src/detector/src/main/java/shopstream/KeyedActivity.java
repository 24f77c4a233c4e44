package shopstream;

import java.io.IOException;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.PriorityQueue;
import org.apache.flink.api.common.state.ListState;
import org.apache.flink.api.common.state.ListStateDescriptor;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeinfo.PrimitiveArrayTypeInfo;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.common.typeutils.base.StringSerializer;
import org.apache.flink.runtime.state.VoidNamespace;
import org.apache.flink.runtime.state.VoidNamespaceSerializer;
import org.apache.flink.streaming.api.operators.AbstractStreamOperator;
import org.apache.flink.streaming.api.operators.InternalTimer;
import org.apache.flink.streaming.api.operators.InternalTimerService;
import org.apache.flink.streaming.api.operators.OneInputStreamOperator;
import org.apache.flink.streaming.api.operators.Triggerable;
import org.apache.flink.streaming.api.watermark.Watermark;
import org.apache.flink.streaming.runtime.streamrecord.StreamRecord;
import org.apache.flink.table.data.RowData;

/**
 * Judges each key's events in the order of time, and keeps a history of each key.
 *
 * <p>Events wait on the heap until the watermark has passed them, so the order in which they arrive changes nothing. Only
 * before a snapshot, or when they are too many, they go to the keyed state, each with a timer: that costs many times more.
 */
abstract class KeyedActivity extends AbstractStreamOperator<RowData>
        implements OneInputStreamOperator<Event, RowData>, Triggerable<String, String> {

    private static final long serialVersionUID = 1;

    /** So many events wait on the heap at most, some 20 MB. With one shard far behind, many of the others wait. */
    private static final int MAX_WAITING = 100_000;

    // Timers of events are set to multiples of this. So an actor with thousands of events in a second wakes ten times, not
    // thousands.
    private static final long STEP_MS = 100;

    // What a timer is for.
    private static final String DUE = "due";
    private static final String FORGET = "forget";

    private static final Comparator<Event> IN_ORDER =
            Comparator.<Event>comparingLong(event -> event.at)
                    .thenComparingInt(event -> event.kind)
                    .thenComparingLong(event -> event.key);

    private transient PriorityQueue<Event> waiting; // on the heap
    private transient ListState<Event> flushed; // those that wait in the state
    private transient long flushedUntil; // the last timer of one of them; the least number if there is none
    private transient long judgedUntil;
    private transient Histories histories;
    private transient InternalTimerService<String> timers;

    /** Returns the key of an event. */
    abstract String keyOf(Event event);

    /** Returns the time that the watermark must pass before an event is judged. */
    abstract long dueAt(Event event);

    /** Does what there is to do about an event of the current key that came too late. */
    abstract void processLate(Event event) throws IOException;

    /**
     * Emits what events of the current key mean.
     *
     * @param history what is known of the key, or null
     * @param due in the order of time
     * @return the history with them, or null if nothing is left to know
     */
    abstract byte[] judge(String key, byte[] history, List<Event> due, long watermark);

    /** Emits what was gathered and must not wait for the end of event time, or for a snapshot, to pass. */
    void tell() throws Exception {}

    /** Returns the event time from which on a history says nothing to an event. */
    abstract long overAt(byte[] history);

    @Override
    public void open() throws Exception {
        super.open();
        waiting = new PriorityQueue<>(Comparator.comparingLong(event -> event.at));
        timers = getInternalTimerService("timers", StringSerializer.INSTANCE, this);
        ValueState<byte[]> state = getRuntimeContext().getState(new ValueStateDescriptor<>(
                "history", PrimitiveArrayTypeInfo.BYTE_PRIMITIVE_ARRAY_TYPE_INFO));
        histories = new Histories(
                state,
                this::setCurrentKey,
                time -> timers.registerEventTimeTimer(FORGET, time),
                history -> overAt(history) + STEP_MS); // after the timers of the last events to which it says something
        ListStateDescriptor<Event> events = new ListStateDescriptor<>("waiting", TypeInformation.of(Event.class));
        flushed = getRuntimeContext().getListState(events);
        judgedUntil = Long.MIN_VALUE;
        flushedUntil = Long.MIN_VALUE;
        this.<String>getKeyedStateBackend()
                .applyToAllKeys(VoidNamespace.INSTANCE, VoidNamespaceSerializer.INSTANCE, events, (key, restored) -> {
                    for (Event event : restored.get()) {
                        flushedUntil = Math.max(flushedUntil, timerOf(event));
                    }
                });
    }

    @Override
    public final void processElement(StreamRecord<Event> record) throws Exception {
        Event event = record.getValue();
        if (event.at <= timers.currentWatermark()) {
            processLate(event);
            return;
        }
        waiting.add(event);
        if (waiting.size() == MAX_WAITING) {
            flush();
        }
    }

    @Override
    public final void processWatermark(Watermark mark) throws Exception {
        long watermark = mark.getTimestamp();
        Map<String, List<Event>> due = new LinkedHashMap<>();
        while (!waiting.isEmpty() && dueAt(waiting.peek()) <= watermark) {
            Event event = waiting.poll();
            due.computeIfAbsent(keyOf(event), key -> new ArrayList<>()).add(event);
        }
        for (Map.Entry<String, List<Event>> one : due.entrySet()) {
            setCurrentKey(one.getKey());
            judge(one.getKey(), one.getValue(), watermark);
        }
        if (mark.equals(Watermark.MAX_WATERMARK)) {
            getTimeServiceManager().orElseThrow().advanceWatermark(mark);
            tell(); // before the operators after this one know that nothing more comes
        }
        super.processWatermark(mark); // timers, and then the operators after this one
        judgedUntil = watermark;
        if (flushedUntil <= watermark) {
            flushedUntil = Long.MIN_VALUE;
        }
    }

    /** Judges events of the current key, together with those that wait in the state. */
    private void judge(String key, List<Event> due, long watermark) throws Exception {
        if (flushedUntil > Long.MIN_VALUE) {
            int count = due.size();
            List<Event> rest = new ArrayList<>();
            for (Event event : flushed.get()) {
                (dueAt(event) <= watermark ? due : rest).add(event);
            }
            if (due.size() > count) {
                flushed.update(rest);
            }
        }
        if (due.isEmpty()) {
            return; // an earlier timer found them
        }
        due.sort(IN_ORDER);
        histories.put(key, judge(key, histories.get(key, judgedUntil), due, watermark), judgedUntil);
    }

    @Override
    public final void onEventTime(InternalTimer<String, String> timer) throws Exception {
        if (timer.getNamespace().equals(FORGET)) {
            histories.forget(timer.getKey(), timer.getTimestamp());
        } else {
            judge(timer.getKey(), new ArrayList<>(), timers.currentWatermark());
        }
    }

    @Override
    public final void onProcessingTime(InternalTimer<String, String> timer) {}

    @Override
    public final void prepareSnapshotPreBarrier(long checkpointId) throws Exception {
        tell();
        flush();
        histories.write(judgedUntil);
    }

    /** Moves what waits on the heap to the state. */
    private void flush() throws Exception {
        for (Event event : waiting) {
            setCurrentKey(keyOf(event));
            flushed.add(event);
            timers.registerEventTimeTimer(DUE, timerOf(event));
            flushedUntil = Math.max(flushedUntil, timerOf(event));
        }
        waiting.clear();
    }

    private long timerOf(Event event) {
        return Math.floorDiv(dueAt(event) + STEP_MS - 1, STEP_MS) * STEP_MS;
    }

    /** Returns what was judged of the current key, or null. */
    final byte[] history(String key) throws IOException {
        return histories.get(key, judgedUntil);
    }
}
