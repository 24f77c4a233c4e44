package shopstream;

import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeinfo.PrimitiveArrayTypeInfo;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.table.data.RowData;
import org.apache.flink.util.Collector;

/**
 * Makes alerts of findings: one when an attack begins, and one at each new highest level.
 *
 * <p>A finding is a window above a rule's threshold. An attack of a subject on a rule is over `quietS` after its last one.
 * Its key is rule and subject, so rules come and go without a trace in the state of others.
 */
public final class Levels extends KeyedProcessFunction<String, RowData, Message> {

    private static final long serialVersionUID = 1;

    private final long quietMs;

    private transient ValueState<long[]> attack; // end of its last window, highest level

    public Levels(long quietS) {
        quietMs = quietS * 1000;
    }

    /** Returns the key of a finding. */
    public static String key(RowData finding) {
        return finding.getString(0) + "\n" + finding.getString(1);
    }

    @Override
    public void open(Configuration configuration) {
        attack = getRuntimeContext().getState(new ValueStateDescriptor<>(
                "attack", PrimitiveArrayTypeInfo.LONG_PRIMITIVE_ARRAY_TYPE_INFO));
    }

    @Override
    public void processElement(RowData finding, Context context, Collector<Message> out) throws Exception {
        long start = finding.getTimestamp(2, 3).getMillisecond();
        long end = finding.getTimestamp(3, 3).getMillisecond();
        long count = finding.getLong(4);
        long threshold = finding.getLong(5);
        // Level 1 is above the threshold, and each doubling is one more: the number of binary digits.
        long level = Long.SIZE - Long.numberOfLeadingZeros(count / (threshold + 1));
        long[] before = attack.value();
        boolean goesOn = before != null && before[0] + quietMs > start;
        long height = goesOn ? before[1] : 0;
        attack.update(new long[] {end, Math.max(height, level)});
        // A later window of the rule that goes on with this attack ends before this.
        context.timerService().registerEventTimeTimer(end + quietMs + end - start);
        if (level > height) {
            String rule = finding.getString(0).toString();
            String subject = finding.getString(1).toString();
            out.collect(Message.alert(rule, subject, start, end, count, threshold, level));
        }
    }

    @Override
    public void onTimer(long time, OnTimerContext context, Collector<Message> out) throws Exception {
        long[] before = attack.value();
        if (before != null && before[0] + quietMs < time) {
            attack.clear();
        }
    }
}
