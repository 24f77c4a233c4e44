package shopstream;

import java.io.IOException;
import java.time.LocalDate;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.util.Collector;
import org.apache.flink.util.OutputTag;

/**
 * Counts what became of each line, by outcome and day.
 *
 * <p>The totals are in the state, so they go on after a restart as if it had not been. They are told in steps of the clock,
 * because some lines have no usable time, and at the end of event time.
 */
final class Tally extends KeyedProcessFunction<String, Tuple2<String, Long>, Message> {

    private static final long serialVersionUID = 1;

    static final String JUDGED = "judged";

    /** What became of lines, as {@link #ofEvents} and {@link #ofArrivals} write it, and how many there were. */
    static final OutputTag<Tuple2<String, Long>> OUTCOMES =
            new OutputTag<>("outcomes", Types.TUPLE(Types.STRING, Types.LONG));

    static final long DAY_MS = 86_400_000;

    private final long stepMs;
    private transient ValueState<Long> total;
    private transient ValueState<Long> told;

    Tally(long stepMs) {
        this.stepMs = stepMs;
    }

    /** Returns the key for events of that day (since 1970) of event time. */
    static String ofEvents(String outcome, long day) {
        return outcome + " event_date " + LocalDate.ofEpochDay(day);
    }

    /** Returns the key for lines without a usable time that arrived then. */
    static String ofArrivals(String reason, long arrivedAt) {
        return reason + " arrival_date " + LocalDate.ofEpochDay(Math.floorDiv(arrivedAt, DAY_MS));
    }

    @Override
    public void open(OpenContext context) {
        total = getRuntimeContext().getState(new ValueStateDescriptor<>("total", Types.LONG));
        told = getRuntimeContext().getState(new ValueStateDescriptor<>("told", Types.LONG));
    }

    @Override
    public void processElement(Tuple2<String, Long> counted, Context context, Collector<Message> out)
            throws IOException {
        total.update(number(total) + counted.f1);
        long now = context.timerService().currentProcessingTime();
        context.timerService().registerProcessingTimeTimer((now / stepMs + 1) * stepMs);
        context.timerService().registerEventTimeTimer(Long.MAX_VALUE);
    }

    @Override
    public void onTimer(long time, OnTimerContext context, Collector<Message> out) throws IOException {
        long all = number(total);
        long added = all - number(told);
        if (added > 0) {
            told.update(all);
            String[] key = context.getCurrentKey().split(" ");
            // Not the timer's own time, which is an old one after a restart: the latest total is the right one.
            long countedAt = context.timerService().currentProcessingTime();
            out.collect(Message.tally(key[0], key[1], key[2], countedAt, added, all));
        }
    }

    private static long number(ValueState<Long> state) throws IOException {
        Long value = state.value();
        return value == null ? 0 : value;
    }
}
