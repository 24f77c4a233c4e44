package shopstream;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import org.apache.flink.api.common.state.BroadcastState;
import org.apache.flink.api.common.state.ListState;
import org.apache.flink.api.common.state.ListStateDescriptor;
import org.apache.flink.api.common.state.MapStateDescriptor;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeinfo.PrimitiveArrayTypeInfo;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.runtime.state.StateInitializationContext;
import org.apache.flink.runtime.state.StateSnapshotContext;
import org.apache.flink.runtime.state.VoidNamespace;
import org.apache.flink.runtime.state.VoidNamespaceSerializer;
import org.apache.flink.streaming.api.operators.AbstractStreamOperator;
import org.apache.flink.streaming.api.operators.InternalTimer;
import org.apache.flink.streaming.api.operators.InternalTimerService;
import org.apache.flink.streaming.api.operators.Triggerable;
import org.apache.flink.streaming.api.operators.TwoInputStreamOperator;
import org.apache.flink.streaming.api.watermark.Watermark;
import org.apache.flink.streaming.runtime.streamrecord.StreamRecord;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.runtime.typeutils.InternalTypeInfo;

/**
 * Makes alerts of findings: one when an attack begins, and one at each new highest level.
 *
 * <p>A finding is a window above a rule's threshold. An attack of a subject on a rule is over `quietS` after its last one.
 * Its key is rule and subject, so rules come and go without a trace in the state of others.
 *
 * <p>The second input has the findings about the site that may explain others. An alert that may be explained waits until
 * the watermark of both inputs has passed its window's end: then all findings that end within the window are here. So
 * the mark depends on event time alone. Other alerts wait for nothing.
 */
public final class Levels extends AbstractStreamOperator<Message>
        implements TwoInputStreamOperator<RowData, RowData, Message>, Triggerable<String, VoidNamespace> {

    private static final long serialVersionUID = 1;

    /** So far behind the watermark a finding about an actor may end: after a snapshot, KeyedActivity judges in steps. */
    private static final long SLACK_MS = 1_000;

    private final long quietMs;
    private final HashMap<String, String> explainedBy;
    private final long keptMs;

    private transient ValueState<long[]> attack; // end of its last window, highest level, when no window goes on with it
    private transient InternalTimerService<VoidNamespace> timers;
    private transient BroadcastState<Tuple2<String, Long>, Boolean> site; // rule, and end of the window
    private transient List<Tuple2<RowData, Long>> waiting; // finding and level
    private transient ListState<Tuple2<RowData, Long>> keptWaiting;
    // Of each input. Flink's own watermark, of both, leaves out an input that is idle, though it may only be slower to wake.
    private transient long[] passed;

    /**
     * @param explainedBy rules, each with the rule about the site that may explain its findings
     * @param longestS length of the longest window of these rules
     */
    public Levels(long quietS, HashMap<String, String> explainedBy, long longestS) {
        quietMs = quietS * 1000;
        this.explainedBy = explainedBy;
        keptMs = longestS * 1000 + SLACK_MS;
    }

    /** Returns the key of a finding. */
    public static String key(RowData finding) {
        return finding.getString(0) + "\n" + Views.subjectAndCrawler(finding)[0];
    }

    @Override
    public void initializeState(StateInitializationContext context) throws Exception {
        super.initializeState(context);
        keptWaiting = context.getOperatorStateStore()
                .getListState(new ListStateDescriptor<>(
                        "waiting", Types.TUPLE(InternalTypeInfo.of(Views.FINDINGS), Types.LONG)));
        waiting = new ArrayList<>();
        for (Tuple2<RowData, Long> one : keptWaiting.get()) {
            waiting.add(one);
        }
        site = context.getOperatorStateStore()
                .getBroadcastState(
                        new MapStateDescriptor<>("site", Types.TUPLE(Types.STRING, Types.LONG), Types.BOOLEAN));
        passed = new long[] {Long.MIN_VALUE, Long.MIN_VALUE};
    }

    @Override
    public void open() throws Exception {
        super.open();
        attack = getRuntimeContext().getState(new ValueStateDescriptor<>(
                "attack", PrimitiveArrayTypeInfo.LONG_PRIMITIVE_ARRAY_TYPE_INFO));
        timers = getInternalTimerService("user-timers", VoidNamespaceSerializer.INSTANCE, this);
    }

    @Override
    public void snapshotState(StateSnapshotContext context) throws Exception {
        super.snapshotState(context);
        keptWaiting.update(waiting);
    }

    @Override
    public void processElement1(StreamRecord<RowData> record) throws Exception {
        RowData finding = record.getValue();
        long start = start(finding);
        long end = end(finding);
        // Level 1 is above the threshold, and each doubling is one more: the number of binary digits.
        long level = Long.SIZE - Long.numberOfLeadingZeros(finding.getLong(4) / (finding.getLong(5) + 1));
        long[] before = attack.value();
        boolean goesOn = before != null && before[0] + quietMs > start;
        long height = goesOn ? before[1] : 0;
        // A later window of the rule that goes on with this attack ends before this.
        long overAt = end + quietMs + end - start;
        attack.update(new long[] {end, Math.max(height, level), overAt});
        timers.registerEventTimeTimer(VoidNamespace.INSTANCE, overAt + SLACK_MS);
        if (level <= height) {
            return;
        }
        if (explainedBy.containsKey(rule(finding))) {
            waiting.add(Tuple2.of(finding, level));
            settle();
        } else {
            emit(finding, level, null);
        }
    }

    @Override
    public void processElement2(StreamRecord<RowData> record) throws Exception {
        site.put(Tuple2.of(rule(record.getValue()), end(record.getValue())), true);
        long until = Math.min(passed[0], passed[1]);
        for (Iterator<Map.Entry<Tuple2<String, Long>, Boolean>> all = site.iterator(); all.hasNext(); ) {
            if (all.next().getKey().f1 + keptMs <= until) {
                all.remove();
            }
        }
    }

    @Override
    public void processWatermark1(Watermark watermark) throws Exception {
        passed[0] = watermark.getTimestamp();
        settle();
        super.processWatermark1(watermark);
    }

    @Override
    public void processWatermark2(Watermark watermark) throws Exception {
        passed[1] = watermark.getTimestamp();
        settle();
        super.processWatermark2(watermark);
    }

    @Override
    public void onEventTime(InternalTimer<String, VoidNamespace> timer) throws Exception {
        long[] before = attack.value();
        if (before != null && before[2] + SLACK_MS <= timer.getTimestamp()) {
            attack.clear();
        }
    }

    @Override
    public void onProcessingTime(InternalTimer<String, VoidNamespace> timer) {}

    /** Emits the waiting alerts whose windows have passed on both inputs. */
    private void settle() throws Exception {
        long until = Math.min(passed[0], passed[1]);
        for (Iterator<Tuple2<RowData, Long>> all = waiting.iterator(); all.hasNext(); ) {
            Tuple2<RowData, Long> one = all.next();
            if (end(one.f0) <= until) {
                emit(one.f0, one.f1, explanation(one.f0));
                all.remove();
            }
        }
    }

    /** Returns the rule that found something about the site in a window that ends within this one, or null. */
    private String explanation(RowData finding) throws Exception {
        String rule = explainedBy.get(rule(finding));
        for (Map.Entry<Tuple2<String, Long>, Boolean> one : site.immutableEntries()) {
            long end = one.getKey().f1;
            if (one.getKey().f0.equals(rule) && start(finding) < end && end <= end(finding)) {
                return rule;
            }
        }
        return null;
    }

    private void emit(RowData finding, long level, String explanation) {
        String[] subject = Views.subjectAndCrawler(finding);
        long count = finding.getLong(4);
        long threshold = finding.getLong(5);
        output.collect(new StreamRecord<>(Message.alert(
                rule(finding), subject[0], start(finding), end(finding), count, threshold, level, explanation, subject[1])));
    }

    private static String rule(RowData finding) {
        return finding.getString(0).toString();
    }

    private static long start(RowData finding) {
        return finding.getTimestamp(2, 3).getMillisecond();
    }

    private static long end(RowData finding) {
        return finding.getTimestamp(3, 3).getMillisecond();
    }
}
