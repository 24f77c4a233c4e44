package shopstream;

import java.io.IOException;
import java.io.Serializable;
import java.math.BigDecimal;
import java.math.RoundingMode;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonFactory;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonParser;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonToken;

/**
 * The event contract (contracts/event.json, docs/contract.md): lines of JSON in, events or reasons out.
 *
 * <p>Every line becomes an event or a reason. The reasons are those of the lake's quarantine, so both paths say the same
 * about a line (src/glue_etl/curate_events.py has the same checks). The work for a line grows with its length only.
 */
public final class Contract implements Serializable {

    private static final long serialVersionUID = 1;

    private enum Kind {
        TIME,
        ID,
        TYPE,
        TEXT,
        PRICE,
        QUANTITY
    }

    // The fields in the contract's order. tests/contract compares them with it.
    private enum Field {
        EVENT_TIME("event_time", Kind.TIME, true),
        EVENT_TYPE("event_type", Kind.TYPE, true),
        PRODUCT_ID("product_id", Kind.ID, false),
        CATEGORY_ID("category_id", Kind.ID, false),
        CATEGORY_CODE("category_code", Kind.TEXT, false),
        BRAND("brand", Kind.TEXT, false),
        PRICE("price", Kind.PRICE, false),
        USER_ID("user_id", Kind.ID, false),
        USER_SESSION("user_session", Kind.ID, false),
        EVENT_ID("event_id", Kind.ID, false),
        ORDER_ID("order_id", Kind.ID, false),
        QUANTITY("quantity", Kind.QUANTITY, false),
        CURRENCY("currency", Kind.TEXT, false),
        CLIENT_IP("client_ip", Kind.TEXT, false),
        USER_AGENT("user_agent", Kind.TEXT, false),
        PAGE_URL("page_url", Kind.TEXT, false),
        REFERRER("referrer", Kind.TEXT, false),
        TXN_TIMESTAMP("txn_timestamp", Kind.TIME, false);

        final String label;
        final Kind kind;
        final boolean isRequired;

        Field(String label, Kind kind, boolean isRequired) {
            this.label = label;
            this.kind = kind;
            this.isRequired = isRequired;
        }
    }

    private static final Field[] FIELDS = Field.values();
    private static final Map<String, Field> BY_LABEL = new HashMap<>();

    static {
        for (Field field : FIELDS) {
            BY_LABEL.put(field.label, field);
        }
    }

    private static final int MAX_ID_CHARACTERS = 128;
    // A price with more characters than this is none: its exponent could cost seconds (1e-100000000).
    private static final int MAX_PRICE_CHARACTERS = 40;
    private static final int MAX_EXPONENT_DIGITS = 3;
    private static final BigDecimal PRICE_LIMIT = BigDecimal.TEN.pow(10);
    // The years 1 to 9999.
    private static final long FIRST_MINUTE = daysSince1970(1, 1, 1) * 24 * 60;
    private static final long END_MINUTE = daysSince1970(10_000, 1, 1) * 24 * 60;
    private static final int MAX_PLAIN_PRICE = 13; // 9999999999.99
    // Objects and arrays, each in the one before it.
    private static final int DEEPEST = 100;
    // Without Jackson's table of names: it throws where many names of a record have the same hash.
    private static final JsonFactory JSON = new JsonFactory().disable(JsonFactory.Feature.CANONICALIZE_FIELD_NAMES);

    private final Set<String> nobody;
    private final Crawlers crawlers;
    private final long maxAheadMs;

    // Of the line that is being read.
    private transient String[] values;
    private transient String[] faults;
    private transient long eventAt;
    private transient long pipelineAt;

    /**
     * @param nobody user ids that mean nobody
     * @param allowedCrawlers names of declared crawlers whose events are not judged
     * @param maxAheadMs how far ahead of its arrival an event's time may be
     */
    public Contract(Set<String> nobody, Set<String> allowedCrawlers, long maxAheadMs) {
        this.nobody = new HashSet<>(nobody);
        crawlers = new Crawlers(allowedCrawlers);
        this.maxAheadMs = maxAheadMs;
    }

    /** Returns what the lines of a record hold. A blank line is nothing. */
    public Batch read(byte[] record, long arrivedAt) {
        Batch batch = new Batch();
        int start = 0;
        for (int end = 0; end <= record.length; end++) {
            if (end == record.length || record[end] == '\n') {
                if (!isBlank(record, start, end)) {
                    readLine(record, start, end - start, arrivedAt, batch);
                }
                start = end + 1;
            }
        }
        return batch;
    }

    private static boolean isBlank(byte[] bytes, int start, int end) {
        for (int i = start; i < end; i++) {
            if (bytes[i] != ' ' && bytes[i] != '\t' && bytes[i] != '\r') {
                return false;
            }
        }
        return true;
    }

    private void readLine(byte[] record, int start, int length, long arrivedAt, Batch batch) {
        String line = new String(record, start, length, StandardCharsets.UTF_8);
        if (line.indexOf('\ufffd') >= 0 && !isUtf8(record, start, length)) {
            batch.unjudged.add(Tally.ofArrivals("not_utf8", arrivedAt));
            return;
        }
        if (values == null) {
            values = new String[FIELDS.length];
            faults = new String[FIELDS.length];
        }
        try {
            if (!parse(line)) {
                batch.unjudged.add(Tally.ofArrivals("not_json", arrivedAt));
                return;
            }
        } catch (IOException malformed) {
            batch.unjudged.add(Tally.ofArrivals("not_json", arrivedAt));
            return;
        }
        if (line.indexOf('\\') >= 0 && hasHalfCharacter(line)) {
            batch.unjudged.add(Tally.ofArrivals("not_utf8", arrivedAt));
            return;
        }
        String fault = firstFault();
        if (fault != null) {
            batch.unjudged.add(Tally.ofArrivals(fault, arrivedAt));
            return;
        }
        long at = value(Field.TXN_TIMESTAMP) == null ? eventAt : pipelineAt;
        byte kind = kind(value(Field.EVENT_TYPE));
        String session = value(Field.USER_SESSION);
        String agent = value(Field.USER_AGENT);
        String crawler = agent == null ? null : crawlers.of(agent);
        if (at <= 0) {
            batch.unjudged.add(Tally.ofArrivals("undated", arrivedAt));
        } else if (at > arrivedAt + maxAheadMs) {
            batch.unjudged.add(Tally.ofArrivals("ahead", arrivedAt));
        } else if (kind == 0) {
            batch.unjudged.add(Tally.ofEvents("other_type", Math.floorDiv(at, Tally.DAY_MS)));
        } else if (crawler != null && crawlers.isAllowed(crawler)) {
            batch.unjudged.add(Tally.ofEvents("allowed_crawler", Math.floorDiv(at, Tally.DAY_MS)));
        } else {
            Event event = new Event();
            event.at = at;
            event.kind = kind;
            event.actor = actor(session);
            event.product = value(Field.PRODUCT_ID);
            String address = value(Field.CLIENT_IP);
            event.address = address == null ? null : Address.of(address);
            event.crawler = crawler;
            event.session = session == null ? 0 : hash(session);
            String thing = event.product == null ? value(Field.PAGE_URL) : event.product;
            event.thing = thing == null ? 0 : hash(thing);
            String id = value(Field.EVENT_ID);
            event.key = id == null ? hash(line) : hash(id);
            batch.events.add(event);
        }
    }

    private String value(Field field) {
        return values[field.ordinal()];
    }

    private String actor(String session) {
        String user = value(Field.USER_ID);
        if (user != null && !nobody.contains(user)) {
            return "user#" + user;
        }
        return session == null ? null : "session#" + session;
    }

    /** Fills `values` and `faults`. Returns whether the line is one JSON object and nothing else. */
    private boolean parse(String line) throws IOException {
        Arrays.fill(values, null);
        Arrays.fill(faults, null);
        int seen = 0;
        try (JsonParser json = JSON.createParser(line)) {
            if (json.nextToken() != JsonToken.START_OBJECT) {
                return false;
            }
            while (json.nextToken() == JsonToken.FIELD_NAME) {
                Field field = BY_LABEL.get(json.getCurrentName());
                JsonToken token = json.nextToken();
                if (field == null) {
                    skip(json);
                } else if ((seen & 1 << field.ordinal()) != 0) {
                    faults[field.ordinal()] = "repeated";
                    skip(json);
                } else {
                    seen |= 1 << field.ordinal();
                    read(field, token, json);
                }
            }
            return json.currentToken() == JsonToken.END_OBJECT && json.nextToken() == null;
        }
    }

    private void read(Field field, JsonToken token, JsonParser json) throws IOException {
        if (token == JsonToken.VALUE_NULL) {
            return;
        }
        int place = field.ordinal();
        if (token == JsonToken.VALUE_STRING && field.kind != Kind.PRICE && field.kind != Kind.QUANTITY) {
            String text = json.getText();
            if (text.isEmpty()) {
                return; // as absent
            }
            values[place] = text;
            faults[place] = faultOfText(field, text);
        } else if (token == JsonToken.VALUE_NUMBER_INT && field.kind == Kind.ID) {
            String digits = json.getText();
            values[place] = digits;
            faults[place] = digits.length() > MAX_ID_CHARACTERS ? "too_long" : null;
        } else if (token.isNumeric() && field.kind == Kind.PRICE) {
            faults[place] = faultOfPrice(json.getText());
        } else if (token == JsonToken.VALUE_NUMBER_INT && field.kind == Kind.QUANTITY) {
            faults[place] = faultOfQuantity(json.getText());
        } else {
            faults[place] = "wrong_type";
            skip(json);
        }
    }

    /** Passes over what is left of a value. Throws IOException if it is too deep. */
    private static void skip(JsonParser json) throws IOException {
        int depth = 0;
        for (JsonToken token = json.currentToken(); token != null; token = json.nextToken()) {
            depth += token.isStructStart() ? 1 : token.isStructEnd() ? -1 : 0;
            if (depth == 0) {
                return;
            }
            if (depth >= DEEPEST) { // the line's own object is the first level
                throw new IOException("too deep");
            }
        }
    }

    private String faultOfText(Field field, String text) {
        if (field.kind == Kind.TIME) {
            long at = instant(text);
            if (at == Long.MIN_VALUE) {
                return "bad_time";
            }
            if (field == Field.EVENT_TIME) {
                eventAt = at;
            } else {
                pipelineAt = at;
            }
            return null;
        }
        boolean isLimited = field.kind == Kind.ID || field.kind == Kind.TYPE;
        if (isLimited
                && text.length() > MAX_ID_CHARACTERS
                && text.codePointCount(0, text.length()) > MAX_ID_CHARACTERS) {
            return "too_long";
        }
        return hasControlCharacter(text) ? "control_character" : null;
    }

    private String firstFault() {
        for (Field field : FIELDS) {
            String fault = faults[field.ordinal()];
            if (fault == null && field.isRequired && value(field) == null) {
                fault = "missing";
            }
            if (fault != null) {
                return fault.startsWith("negative") || fault.equals("bad_quantity")
                        ? fault
                        : fault + ":" + field.label;
            }
        }
        return null;
    }

    private static byte kind(String type) {
        switch (type) {
            case "view":
                return Event.VIEW;
            case "cart":
                return Event.CART;
            case "remove_from_cart":
                return Event.REMOVE;
            case "purchase":
                return Event.PURCHASE;
            default:
                String plain = type.trim().toLowerCase(Locale.ROOT);
                return plain.equals(type) ? 0 : kind(plain);
        }
    }

    private static String faultOfPrice(String text) {
        int dot = text.length() - 3;
        if (dot > 0 && text.length() <= MAX_PLAIN_PRICE && text.charAt(dot) == '.' && text.charAt(0) != '-') {
            return null; // 35.79; JSON has made sure that the rest is digits, but for an exponent
        }
        int exponent = Math.max(text.indexOf('e'), text.indexOf('E')) + 1;
        if (exponent > 0 && !isDigit(text.charAt(exponent))) {
            exponent++; // its sign
        }
        if (text.length() > MAX_PRICE_CHARACTERS || exponent > 0 && text.length() - exponent > MAX_EXPONENT_DIGITS) {
            return "wrong_type";
        }
        BigDecimal price = new BigDecimal(text).setScale(2, RoundingMode.HALF_UP);
        if (price.abs().compareTo(PRICE_LIMIT) >= 0) {
            return "wrong_type";
        }
        return price.signum() < 0 || text.charAt(0) == '-' && new BigDecimal(text).signum() < 0
                ? "negative_price"
                : null;
    }

    private static String faultOfQuantity(String text) {
        try {
            return Long.parseLong(text) < 1 ? "bad_quantity" : null;
        } catch (NumberFormatException tooLarge) {
            return "wrong_type";
        }
    }

    private static boolean hasControlCharacter(String text) {
        for (int i = 0; i < text.length(); i++) {
            char letter = text.charAt(i);
            if (letter < 0x20 || letter == 0x7f) {
                return true;
            }
        }
        return false;
    }

    /** Returns whether an escape of the line is half of a pair without the other, which has no form in UTF-8. */
    private static boolean hasHalfCharacter(String line) {
        boolean isFirstHalf = false; // before this place
        for (int i = 0; i < line.length(); i++) {
            char letter = 0;
            if (line.charAt(i) == '\\' && line.charAt(++i) == 'u') {
                letter = (char) Integer.parseInt(line.substring(i + 1, i + 5), 16); // it is JSON, so there are four
                i += 4;
            }
            if (isFirstHalf != Character.isLowSurrogate(letter)) {
                return true;
            }
            isFirstHalf = Character.isHighSurrogate(letter);
        }
        return isFirstHalf;
    }

    private static boolean isUtf8(byte[] bytes, int start, int length) {
        try {
            StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(bytes, start, length));
            return true;
        } catch (CharacterCodingException malformed) {
            return false;
        }
    }

    /**
     * Returns the milliseconds since 1970 of an ISO 8601 date and time with an offset, or of the data set's form ({@code
     * 2019-10-01 00:00:00 UTC}); {@code Long.MIN_VALUE} if it is none or does not exist. Fractions are cut.
     */
    static long instant(String text) {
        int length = text.length();
        if (length < 20
                || text.charAt(4) != '-'
                || text.charAt(7) != '-'
                || text.charAt(10) != 'T' && text.charAt(10) != ' '
                || text.charAt(13) != ':'
                || text.charAt(16) != ':') {
            return Long.MIN_VALUE;
        }
        int century = two(text, 0);
        int year = century < 0 ? -1 : century * 100 + two(text, 2);
        int month = two(text, 5);
        int day = two(text, 8);
        int hour = two(text, 11);
        int minute = two(text, 14);
        int second = two(text, 17);
        if (year < 1 || two(text, 2) < 0 || month < 1 || month > 12 || day < 1 || day > days(year, month)) {
            return Long.MIN_VALUE;
        }
        if (hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59) {
            return Long.MIN_VALUE;
        }
        int place = 19;
        int millis = 0;
        if (text.charAt(place) == '.') {
            int digits = 0;
            for (place++; place < length && isDigit(text.charAt(place)); place++, digits++) {
                if (digits < 3) {
                    millis = millis * 10 + text.charAt(place) - '0';
                }
            }
            if (digits == 0 || digits > 9) {
                return Long.MIN_VALUE;
            }
            for (; digits < 3; digits++) {
                millis *= 10;
            }
        }
        int offset = offsetMinutes(text, place);
        if (offset == Integer.MIN_VALUE) {
            return Long.MIN_VALUE;
        }
        long minutes = (daysSince1970(year, month, day) * 24 + hour) * 60 + minute - offset;
        // An offset can lead to a year that has no four digits.
        return minutes < FIRST_MINUTE || minutes >= END_MINUTE
                ? Long.MIN_VALUE
                : (minutes * 60 + second) * 1000 + millis;
    }

    private static int offsetMinutes(String text, int place) {
        String rest = text.substring(place);
        if (rest.equals("Z") || rest.equals(" UTC")) {
            return 0;
        }
        boolean hasColon = rest.length() == 6 && rest.charAt(3) == ':';
        if (rest.isEmpty()
                || rest.charAt(0) != '+' && rest.charAt(0) != '-'
                || rest.length() != 3 && rest.length() != 5 && !hasColon) {
            return Integer.MIN_VALUE;
        }
        int hours = two(rest, 1);
        int minutes = rest.length() == 3 ? 0 : two(rest, hasColon ? 4 : 3);
        if (hours < 0 || hours > 18 || minutes < 0 || minutes > 59 || hours == 18 && minutes > 0) {
            return Integer.MIN_VALUE;
        }
        return (hours * 60 + minutes) * (rest.charAt(0) == '-' ? -1 : 1);
    }

    /** Returns the number in two digits, or a negative one. */
    private static int two(String text, int place) {
        char tens = text.charAt(place);
        char ones = text.charAt(place + 1);
        return isDigit(tens) && isDigit(ones) ? (tens - '0') * 10 + ones - '0' : -1;
    }

    private static boolean isDigit(char letter) {
        return letter >= '0' && letter <= '9';
    }

    private static int days(int year, int month) {
        if (month == 2) {
            return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28;
        }
        return month == 4 || month == 6 || month == 9 || month == 11 ? 30 : 31;
    }

    /** As java.time counts them, without its objects: https://howardhinnant.github.io/date_algorithms.html */
    private static long daysSince1970(int year, int month, int day) {
        int shifted = month > 2 ? year : year - 1;
        int era = Math.floorDiv(shifted, 400);
        int ofEra = shifted - era * 400;
        int ofYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
        return era * 146097L + ofEra * 365L + ofEra / 4 - ofEra / 100 + ofYear - 719468;
    }

    /** Returns 64 bits that differ for different texts, but for one pair in many billions. */
    static long hash(String text) {
        long hash = 0xcbf29ce484222325L ^ text.length();
        for (int i = 0; i < text.length(); i++) {
            hash = (hash ^ text.charAt(i)) * 0x100000001b3L;
        }
        hash = (hash ^ hash >>> 32) * 0x9e3779b97f4a7c15L;
        return hash ^ hash >>> 29;
    }
}
