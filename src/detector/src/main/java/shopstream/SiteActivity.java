package shopstream;

import java.util.Arrays;
import java.util.Map;
import java.util.TreeMap;
import org.apache.flink.api.common.state.ListState;
import org.apache.flink.api.common.state.ListStateDescriptor;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.runtime.state.StateInitializationContext;
import org.apache.flink.runtime.state.StateSnapshotContext;
import org.apache.flink.streaming.api.operators.AbstractStreamOperator;
import org.apache.flink.streaming.api.operators.OneInputStreamOperator;
import org.apache.flink.streaming.api.watermark.Watermark;
import org.apache.flink.streaming.runtime.streamrecord.StreamRecord;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;

/**
 * Counts the actions of the whole site: a row for each second in which somebody acted, once the watermark has passed it,
 * and for each window and baseline that a rule asks for.
 *
 * <p>It has one subtask. Its counts by second are a few hundred numbers, so they are in memory, and in each checkpoint.
 */
public final class SiteActivity extends AbstractStreamOperator<RowData>
        implements OneInputStreamOperator<Tuple2<Long, Integer>, RowData> {

    private static final long serialVersionUID = 1;

    private static final StringData SITE = StringData.fromString("site");

    private final int[][] windowsS; // window and baseline
    private final int longestS;

    private transient TreeMap<Integer, Long> actions; // by second
    private transient ListState<Tuple2<Integer, Long>> kept;
    private transient ListState<Integer> keptJudged;
    private transient int judged; // the last second that was judged

    public SiteActivity(int[][] windowsS) {
        this.windowsS = windowsS;
        longestS = Arrays.stream(windowsS).flatMapToInt(Arrays::stream).max().orElse(1);
    }

    /** Returns the second that the time belongs to: 5 is (4.000, 5.000]. */
    static int secondOf(long at) {
        return (int) Math.floorDiv(at + 999, 1000L);
    }

    @Override
    public void initializeState(StateInitializationContext context) throws Exception {
        super.initializeState(context);
        actions = new TreeMap<>();
        kept = context.getOperatorStateStore()
                .getListState(new ListStateDescriptor<>("actions", Types.TUPLE(Types.INT, Types.LONG)));
        keptJudged = context.getOperatorStateStore().getListState(new ListStateDescriptor<>("judged", Types.INT));
        for (Tuple2<Integer, Long> one : kept.get()) {
            actions.merge(one.f0, one.f1, Long::sum);
        }
        judged = Integer.MIN_VALUE;
        for (int one : keptJudged.get()) {
            judged = Math.max(judged, one);
        }
    }

    @Override
    public void snapshotState(StateSnapshotContext context) throws Exception {
        super.snapshotState(context);
        kept.clear();
        for (Map.Entry<Integer, Long> one : actions.entrySet()) {
            kept.add(Tuple2.of(one.getKey(), one.getValue()));
        }
        keptJudged.clear();
        keptJudged.add(judged);
    }

    @Override
    public void processElement(StreamRecord<Tuple2<Long, Integer>> record) {
        actions.merge(secondOf(record.getValue().f0), (long) record.getValue().f1, Long::sum);
    }

    @Override
    public void processWatermark(Watermark watermark) throws Exception {
        long passed = Math.floorDiv(watermark.getTimestamp(), 1000L);
        int until = (int) Math.max(Integer.MIN_VALUE, Math.min(Integer.MAX_VALUE, passed));
        if (until > judged) {
            for (int second : actions.subMap(judged, false, until, true).keySet()) {
                judge(second);
                judged = second; // not `until`: at the end of a drain that is the end of time
            }
            if (judged > Integer.MIN_VALUE) {
                actions.headMap(judged - longestS, true).clear();
            }
        }
        super.processWatermark(watermark);
    }

    private void judge(int second) {
        for (int[] pair : windowsS) {
            int windowS = pair[0];
            int baselineS = pair[1];
            long count = 0;
            for (long one : actions.subMap(second - windowS, false, second, true).values()) {
                count += one;
            }
            long before = 0;
            long seconds = 0;
            if (baselineS > windowS) {
                for (long one : actions.subMap(second - baselineS, false, second - windowS, true).values()) {
                    before += one;
                    seconds++;
                }
            }
            GenericRowData row = Views.row(Views.SITE_ACTIVITY, SITE, second * 1000L, windowS);
            row.setField(4, baselineS);
            row.setField(5, count);
            row.setField(6, before);
            row.setField(7, seconds);
            output.collect(new StreamRecord<>(row, second * 1000L));
        }
    }
}
