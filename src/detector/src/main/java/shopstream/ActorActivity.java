package shopstream;

import java.io.IOException;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.streaming.runtime.streamrecord.StreamRecord;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.util.OutputTag;

/**
 * Counts what each actor did in the last minutes: a row for each instant in which it did something, and for each length
 * of window that a rule asks for. Its state does not depend on which rules there are, but for the longest window.
 */
public final class ActorActivity extends KeyedActivity {

    private static final long serialVersionUID = 1;

    /** The actor of events whose actor is not known begins with this. They count for the site only, one by one. */
    private static final String UNKNOWN = "?";

    /** Time and number of actions, for the whole site. */
    public static final OutputTag<Tuple2<Long, Integer>> ACTIONS =
            new OutputTag<>("actions", Types.TUPLE(Types.LONG, Types.INT));

    private static final String[] OUTCOMES = {Tally.JUDGED, "no_actor", "late"};
    private static final int JUDGED = 0;
    private static final int NO_ACTOR = 1;
    private static final int LATE = 2;

    /** So often what was counted is told: a record for each event would cost as much as the event. */
    private static final long TELL_MS = 1_000;

    private final int[] windowsS;
    private final long longestMs;

    private transient History entries;
    private transient History.Counts counts;
    private transient Map<Long, long[]> outcomes; // by day since 1970: how many of each

    public ActorActivity(int[] windowsS) {
        this.windowsS = windowsS;
        // What is known of an actor must reach back to the first of an event's echoes, however short the windows are.
        longestMs = Math.max(IntStream.of(windowsS).max().orElse(0) * 1000L, History.ECHO_MS);
    }

    /** Returns who acts. Events whose actor is not known are spread over some keys. */
    static String actor(Event event) {
        return event.actor == null ? UNKNOWN + (event.key & 63) : event.actor;
    }

    @Override
    String keyOf(Event event) {
        return actor(event);
    }

    @Override
    long dueAt(Event event) {
        return event.at;
    }

    @Override
    long overAt(byte[] history) {
        return History.newestAt(history) + longestMs;
    }

    @Override
    public void open() throws Exception {
        super.open();
        entries = new History();
        counts = new History.Counts();
        outcomes = new HashMap<>();
        getProcessingTimeService().scheduleWithFixedDelay(time -> tell(), TELL_MS, TELL_MS);
    }

    @Override
    void processLate(Event event) throws IOException {
        entries.load(history(actor(event)));
        count(event, entries.holds(event) ? judged(event) : LATE); // one that was judged before comes again
    }

    private static int judged(Event event) {
        return event.actor == null ? NO_ACTOR : JUDGED;
    }

    private void count(Event event, int outcome) {
        outcomes.computeIfAbsent(Math.floorDiv(event.at, Tally.DAY_MS), day -> new long[OUTCOMES.length])[outcome]++;
    }

    /** Emits what was counted. Between two snapshots, so that each event is counted in one of them. */
    @Override
    void tell() {
        outcomes.forEach((day, numbers) -> {
            for (int i = 0; i < numbers.length; i++) {
                if (numbers[i] > 0) {
                    Tuple2<String, Long> counted = Tuple2.of(Tally.ofEvents(OUTCOMES[i], day), numbers[i]);
                    output.collect(Tally.OUTCOMES, new StreamRecord<>(counted));
                }
            }
        });
        outcomes.clear();
    }

    @Override
    byte[] judge(String actor, byte[] history, List<Event> due, long watermark) {
        entries.load(history);
        boolean isKnown = !actor.startsWith(UNKNOWN);
        for (int i = 0; i < due.size(); ) {
            long at = due.get(i).at;
            int added = 0;
            int first = i;
            for (; i < due.size() && due.get(i).at == at; i++) {
                added += entries.add(due.get(i)) ? 1 : 0;
                count(due.get(i), judged(due.get(i)));
            }
            if (added > 0) {
                emit(at, added, isKnown ? Views.subject(actor, due.subList(first, i)) : null);
            }
        }
        entries.forgetUntil(watermark - longestMs);
        return entries.isEmpty() ? null : entries.save(); // empty at the end of a drain
    }

    /** @param subject null where nobody is known */
    private void emit(long at, int added, StringData subject) {
        int here = subject == null ? added : entries.actionsAt(at);
        if (here > 0) {
            output.collect(ACTIONS, new StreamRecord<>(Tuple2.of(at, here)));
        }
        if (subject == null) {
            return;
        }
        for (int windowS : windowsS) {
            entries.count(windowS * 1000L, counts);
            GenericRowData row = Views.row(Views.ACTIVITY, subject, at, windowS);
            row.setField(4, counts.actions);
            row.setField(5, counts.products);
            row.setField(6, counts.sessions);
            row.setField(7, counts.carts);
            row.setField(8, counts.cartsLeft);
            row.setField(9, counts.purchases);
            output.collect(new StreamRecord<>(row));
        }
    }
}
