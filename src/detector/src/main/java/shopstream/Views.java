package shopstream;

import java.util.List;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.data.TimestampData;
import org.apache.flink.table.types.logical.BigIntType;
import org.apache.flink.table.types.logical.IntType;
import org.apache.flink.table.types.logical.LogicalType;
import org.apache.flink.table.types.logical.RowType;
import org.apache.flink.table.types.logical.TimestampType;
import org.apache.flink.table.types.logical.VarCharType;

/** The views that rules read, and the findings that they give. docs/detection.md explains the columns. */
final class Views {

    private static final LogicalType TEXT = new VarCharType(VarCharType.MAX_LENGTH);
    private static final LogicalType TIME = new TimestampType(3);
    private static final LogicalType SECONDS = new IntType();
    private static final LogicalType COUNT = new BigIntType();

    /** What an actor did in a window that ends at one of its actions. */
    static final RowType ACTIVITY =
            RowType.of(
                    new LogicalType[] {
                        TEXT, TIME, TIME, SECONDS, COUNT, COUNT, COUNT, COUNT, COUNT, COUNT,
                    },
                    new String[] {
                        "subject",
                        "window_start_at",
                        "window_end_at",
                        "window_s",
                        "actions",
                        "products",
                        "sessions",
                        "carts",
                        "carts_left",
                        "purchases",
                    });

    /**
     * Who acted on a product, or from an address, in a window that ends with a second in which somebody did, and in the
     * time before it.
     */
    static final RowType CROWD_ACTIVITY =
            RowType.of(
                    new LogicalType[] {TEXT, TIME, TIME, SECONDS, SECONDS, COUNT, COUNT, COUNT},
                    new String[] {
                        "subject",
                        "window_start_at",
                        "window_end_at",
                        "window_s",
                        "baseline_s",
                        "actors",
                        "baseline_actors",
                        "baseline_windows",
                    });

    /** What all did in a window that ends with a second in which somebody acted, and in the time before it. */
    static final RowType SITE_ACTIVITY =
            RowType.of(
                    new LogicalType[] {TEXT, TIME, TIME, SECONDS, SECONDS, COUNT, COUNT, COUNT},
                    new String[] {
                        "subject",
                        "window_start_at",
                        "window_end_at",
                        "window_s",
                        "baseline_s",
                        "actions",
                        "baseline_actions",
                        "baseline_seconds",
                    });

    /** What a rule's view gives: a window above its threshold. */
    static final RowType FINDINGS =
            RowType.of(
                    new LogicalType[] {TEXT, TEXT, TIME, TIME, COUNT, COUNT},
                    new String[] {
                        "rule", "subject", "window_start_at", "window_end_at", "num_actions_per_watermark", "threshold",
                    });

    // Between a subject and the crawler that its events declare. Neither has control characters.
    private static final char SEPARATOR = '\u001f';

    /**
     * Returns a subject for a row about these events, one or more. If all of them declare a crawler, it is in there: rules
     * pass subjects on as they are, so it reaches the alert through any rule's SQL.
     */
    static StringData subject(String subject, List<Event> events) {
        String crawler = events.get(events.size() - 1).crawler;
        boolean isDeclared = crawler != null && events.stream().allMatch(event -> event.crawler != null);
        return StringData.fromString(isDeclared ? subject + SEPARATOR + crawler : subject);
    }

    /** Returns the subject of a finding, and the crawler or null. */
    static String[] subjectAndCrawler(RowData finding) {
        String subject = finding.getString(1).toString();
        int end = subject.indexOf(SEPARATOR);
        return end < 0
                ? new String[] {subject, null}
                : new String[] {subject.substring(0, end), subject.substring(end + 1)};
    }

    /** Returns a row of one of the views, with the columns that all have: what it is about, and its window. */
    static GenericRowData row(RowType view, StringData subject, long endMs, int windowS) {
        GenericRowData row = new GenericRowData(view.getFieldCount());
        row.setField(0, subject);
        row.setField(1, TimestampData.fromEpochMillis(endMs - windowS * 1000L));
        row.setField(2, TimestampData.fromEpochMillis(endMs));
        row.setField(3, windowS);
        return row;
    }

    private Views() {}
}
