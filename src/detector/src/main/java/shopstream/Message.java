package shopstream;

import java.time.Instant;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.io.JsonStringEncoder;

/** A record for stream 2: contracts/alert.json or contracts/tally.json. */
public final class Message {

    private static final DateTimeFormatter TIME =
            DateTimeFormatter.ofPattern("yyyy-MM-dd'T'HH:mm:ss.SSS'Z'").withZone(ZoneOffset.UTC);

    /** The partition key. */
    public String key;

    public String json;

    public Message() {}

    private Message(String key, String json) {
        this.key = key;
        this.json = json;
    }

    static Message alert(
            String rule,
            String subject,
            long start,
            long end,
            long count,
            long threshold,
            long level,
            String explainedBy,
            String declaredCrawler) {
        String endAt = TIME.format(Instant.ofEpochMilli(end));
        String json = "{\"alert_id\":" + quoted(rule + ":" + subject + ":" + endAt)
                + ",\"rule\":" + quoted(rule)
                + ",\"subject\":" + quoted(subject)
                + ",\"window_start_at\":" + quoted(TIME.format(Instant.ofEpochMilli(start)))
                + ",\"window_end_at\":" + quoted(endAt)
                + ",\"num_actions_per_watermark\":" + count
                + ",\"threshold\":" + threshold
                + ",\"level\":" + level
                + (explainedBy == null ? "" : ",\"explained_by\":" + quoted(explainedBy))
                + (declaredCrawler == null ? "" : ",\"declared_crawler\":" + quoted(declaredCrawler))
                + "}";
        return new Message(subject, json);
    }

    /** @param dateOf {@code event_date} or {@code arrival_date} */
    static Message tally(String outcome, String dateOf, String date, long countedAt, long events, long total) {
        String json = "{\"outcome\":" + quoted(outcome)
                + ",\"event_date\":" + (dateOf.equals("event_date") ? quoted(date) : "null")
                + ",\"arrival_date\":" + (dateOf.equals("arrival_date") ? quoted(date) : "null")
                + ",\"counted_at\":" + quoted(TIME.format(Instant.ofEpochMilli(countedAt)))
                + ",\"event_count\":" + events
                + ",\"total_count\":" + total + "}";
        return new Message(outcome, json);
    }

    private static String quoted(String text) {
        return "\"" + new String(JsonStringEncoder.getInstance().quoteAsString(text)) + "\"";
    }
}
