package shopstream;

import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.flink.api.common.eventtime.Watermark;
import org.apache.flink.api.common.eventtime.WatermarkGenerator;
import org.apache.flink.api.common.eventtime.WatermarkOutput;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.serialization.SerializationSchema;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.file.sink.FileSink;
import org.apache.flink.connector.file.src.FileSource;
import org.apache.flink.connector.kinesis.sink.KinesisStreamsSink;
import org.apache.flink.core.execution.JobClient;
import org.apache.flink.core.fs.Path;
import org.apache.flink.metrics.Counter;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.datastream.SingleOutputStreamOperator;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.ProcessFunction;
import org.apache.flink.streaming.api.functions.sink.filesystem.rollingpolicies.OnCheckpointRollingPolicy;
import org.apache.flink.streaming.api.functions.sink.v2.DiscardingSink;
import org.apache.flink.streaming.connectors.kinesis.config.ConsumerConfigConstants;
import org.apache.flink.table.api.Schema;
import org.apache.flink.table.api.bridge.java.StreamTableEnvironment;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.runtime.typeutils.InternalTypeInfo;
import org.apache.flink.table.types.logical.RowType;
import org.apache.flink.table.types.utils.TypeConversions;
import org.apache.flink.util.Collector;

/**
 * The job's operators around the rules' SQL. src/detector/job.py puts them together:
 *
 * <pre>
 * stream 1 -> events -> activity of actors, products, site -> rules (SQL) -> levels -> stream 2
 *                  \-> outcomes -> tally -> stream 2
 * </pre>
 *
 * <p>Every operator with state has a uid. So a snapshot fits whichever rules there are.
 */
public final class Detector {

    /** So much later than others an event may come and still be judged. */
    static final long DELAY_MS = 2_000;

    /** A shard without events for so long does not hold back the others. */
    static final Duration IDLE = Duration.ofSeconds(10);

    /** So long a subtask may take until it has read its first record. */
    static final Duration START = Duration.ofSeconds(30);

    private final StreamExecutionEnvironment env;
    private final StreamTableEnvironment tables;
    private final Map<String, Map<String, String>> settings;
    private DataStream<Tuple2<String, Long>> outcomes;

    /**
     * @param options Flink's options; {@code execution.target} chooses a cluster. Empty on Managed Flink.
     * @param settings {@code source}, {@code alerts} and {@code unjudged}: where records come from and go to, by the keys
     *     of {@link #source} and {@link #write}
     */
    public Detector(Map<String, String> options, Map<String, Map<String, String>> settings) {
        Configuration configuration = Configuration.fromMap(options);
        env = options.containsKey("execution.target")
                ? new StreamExecutionEnvironment(configuration)
                : StreamExecutionEnvironment.getExecutionEnvironment(configuration);
        tables = StreamTableEnvironment.create(env);
        this.settings = settings;
    }

    /**
     * Creates the views that the rules read.
     *
     * @param nobody user ids that mean nobody
     * @param allowedCrawlers names of declared crawlers whose events are not judged
     * @param maxAheadS how far ahead of its arrival an event's time may be
     * @param actorsS lengths of the windows over what an actor does, each once
     * @param productsS window and baseline, in turns, over who acts on a product
     * @param addressesS window and baseline, in turns, over who acts from an address
     * @param siteS window and baseline, in turns, over what all do
     */
    public void read(
            List<String> nobody,
            List<String> allowedCrawlers,
            long maxAheadS,
            List<Integer> actorsS,
            List<Integer> productsS,
            List<Integer> addressesS,
            List<Integer> siteS) {
        Contract contract = new Contract(new HashSet<>(nobody), new HashSet<>(allowedCrawlers), maxAheadS * 1000);
        SingleOutputStreamOperator<Event> events = source(contract)
                .process(new Events())
                .returns(TypeInformation.of(Event.class))
                .name("events")
                .uid("events");
        SingleOutputStreamOperator<RowData> actors = events
                .keyBy(ActorActivity::actor, Types.STRING)
                .transform("activity", InternalTypeInfo.of(Views.ACTIVITY), new ActorActivity(numbers(actorsS)))
                .uid("activity");
        view("activity", actors, Views.ACTIVITY);
        crowds("product_activity", events, CrowdActivity.Of.PRODUCT, pairs(productsS));
        crowds("address_activity", events, CrowdActivity.Of.ADDRESS, pairs(addressesS));
        SingleOutputStreamOperator<RowData> site = actors.getSideOutput(ActorActivity.ACTIONS)
                .global()
                .transform("site_activity", InternalTypeInfo.of(Views.SITE_ACTIVITY), new SiteActivity(pairs(siteS)))
                .setParallelism(1)
                .setMaxParallelism(1)
                .uid("site_activity");
        // Between one subtask and many, Flink would deal out the rows in turns, and they would overtake each other.
        // Levels needs those of a subject in order.
        view("site_activity",
                site.global().map(row -> row).returns(InternalTypeInfo.of(Views.SITE_ACTIVITY)).name("site_in_order"),
                Views.SITE_ACTIVITY);
        outcomes = events.getSideOutput(Tally.OUTCOMES).union(actors.getSideOutput(Tally.OUTCOMES));
    }

    private void crowds(String name, DataStream<Event> events, CrowdActivity.Of of, int[][] windowsS) {
        DataStream<RowData> rows = events.filter(event -> of.name(event) != null)
                .keyBy(of::name, Types.STRING)
                .transform(name, InternalTypeInfo.of(Views.CROWD_ACTIVITY), new CrowdActivity(of, windowsS))
                .uid(name);
        view(name, rows, Views.CROWD_ACTIVITY);
    }

    /** Executes a statement, such as one that creates the view of a rule. */
    public void execute(String sql) {
        tables.executeSql(sql);
    }

    /**
     * Makes alerts of what a query finds, whose columns are those of a rule's view.
     *
     * @param explaining the query for findings about the site that may explain others, or an empty text
     * @param explainedBy rules, each with the rule about the site that may explain its findings
     * @param longestS length of the longest window of these rules
     */
    public void alert(
            String findings, long quietS, String explaining, Map<String, String> explainedBy, long longestS) {
        DataStream<RowData> found = findings(findings);
        // Not filtered from the others: of a source that wakes, their watermark may be ahead of that of the site.
        DataStream<RowData> site = explaining.isEmpty() ? found.filter(row -> false) : findings(explaining);
        Levels levels = new Levels(quietS, new HashMap<>(explainedBy), longestS);
        SingleOutputStreamOperator<Message> alerts = found.keyBy(Levels::key, Types.STRING)
                .connect(site.broadcast())
                .transform("levels", TypeInformation.of(Message.class), levels)
                .uid("levels");
        write("alerts", alerts);
    }

    private DataStream<RowData> findings(String query) {
        return tables.toDataStream(
                        tables.sqlQuery(query),
                        TypeConversions.fromLogicalToDataType(Views.FINDINGS).notNull().bridgedTo(RowData.class))
                .map(row -> (RowData) row)
                .returns(InternalTypeInfo.of(Views.FINDINGS));
    }

    /** Counts what was judged and what was not, and why, in steps of the clock. */
    public void tally(long stepS) {
        write("unjudged",
                outcomes.keyBy(counted -> counted.f0, Types.STRING)
                        .process(new Tally(stepS * 1000), TypeInformation.of(Message.class))
                        .name("tally")
                        .uid("tally"));
    }

    /** Starts the job and returns. */
    public JobClient start(String name) throws Exception {
        return env.executeAsync(name);
    }

    /** `stream` with options of the connector, or `files` with their folder, and `watch_ms` if more may come. */
    private DataStream<Batch> source(Contract contract) {
        Map<String, String> own = settings.getOrDefault("source", Collections.emptyMap());
        if (own.containsKey("files")) {
            FileSource.FileSourceBuilder<Batch> files =
                    FileSource.forRecordStreamFormat(new Lines(contract), new Path(own.get("files")));
            if (own.containsKey("watch_ms")) {
                files.monitorContinuously(Duration.ofMillis(Long.parseLong(own.get("watch_ms"))));
            }
            // A watermark after each line, not by the clock: a slow machine must not make other events late.
            WatermarkStrategy<Batch> watermarks = WatermarkStrategy.forGenerator(context -> new EachLine());
            return env.fromSource(files.build(), watermarks.withIdleness(IDLE), "source").uid("source");
        }
        Properties properties = properties(own, "stream");
        properties.setProperty(ConsumerConfigConstants.SHARD_IDLE_INTERVAL_MILLIS, String.valueOf(IDLE.toMillis()));
        Records.Source stream = new Records.Source(own.get("stream"), new Records(contract), properties);
        return env.addSource(stream, "source", TypeInformation.of(Batch.class)).uid("source");
    }

    /** `stream` with options of the connector and `buffer_ms`, or `files` with a folder, or nothing: to nowhere. */
    private void write(String name, DataStream<Message> messages) {
        Map<String, String> own = settings.getOrDefault(name, Collections.emptyMap());
        if (own.containsKey("files")) {
            FileSink<Message> files = FileSink.<Message>forRowFormat(
                            new Path(own.get("files")),
                            (message, out) -> out.write(utf8(message.json + "\n")))
                    .withRollingPolicy(OnCheckpointRollingPolicy.build())
                    .build();
            messages.sinkTo(files).name(name).uid(name);
        } else if (own.containsKey("stream")) {
            KinesisStreamsSink<Message> stream = KinesisStreamsSink.<Message>builder()
                    .setStreamName(own.get("stream"))
                    .setKinesisClientProperties(properties(own, "stream", "buffer_ms"))
                    .setSerializationSchema((SerializationSchema<Message>) message -> utf8(message.json))
                    .setPartitionKeyGenerator(message -> message.key)
                    .setFailOnError(false)
                    .setMaxTimeInBufferMS(Long.parseLong(own.getOrDefault("buffer_ms", "20")))
                    .build();
            messages.sinkTo(stream).name(name).uid(name);
        } else {
            messages.sinkTo(new DiscardingSink<>()).name(name).uid(name);
        }
    }

    private static Properties properties(Map<String, String> settings, String... without) {
        Properties properties = new Properties();
        properties.putAll(settings);
        for (String name : without) {
            properties.remove(name);
        }
        return properties;
    }

    private static byte[] utf8(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    private static int[] numbers(List<Integer> numbers) {
        return numbers.stream().mapToInt(Integer::intValue).toArray();
    }

    private static int[][] pairs(List<Integer> numbers) {
        int[][] pairs = new int[numbers.size() / 2][];
        for (int i = 0; i < pairs.length; i++) {
            pairs[i] = new int[] {numbers.get(2 * i), numbers.get(2 * i + 1)};
        }
        return pairs;
    }

    private void view(String name, DataStream<RowData> rows, RowType type) {
        Schema.Builder schema = Schema.newBuilder();
        for (RowType.RowField field : type.getFields()) {
            schema.column(field.getName(), TypeConversions.fromLogicalToDataType(field.getType()));
        }
        // Without this the SQL would let no watermark pass but the last one.
        schema.watermark("window_end_at", "source_watermark()");
        tables.createTemporaryView(name, rows, schema.build());
    }

    /** Splits batches, and counts the events of declared crawlers. */
    private static final class Events extends ProcessFunction<Batch, Event> {

        private static final long serialVersionUID = 1;

        private transient Map<String, Counter> ofCrawlers;
        private transient Counter ofAllCrawlers;

        @Override
        public void open(OpenContext context) {
            ofCrawlers = new HashMap<>();
            // Managed Flink sends what is in this group to CloudWatch. It charges for each, and there are 1,500 crawlers.
            ofAllCrawlers = getRuntimeContext()
                    .getMetricGroup()
                    .addGroup("KinesisAnalytics")
                    .counter("declaredCrawlerEvents");
        }

        private Counter ofCrawler(String name) {
            return getRuntimeContext()
                    .getMetricGroup()
                    .addGroup("crawler", name)
                    .counter("declaredCrawlerEvents");
        }

        @Override
        public void processElement(Batch batch, Context context, Collector<Event> out) {
            for (String reason : batch.unjudged) {
                context.output(Tally.OUTCOMES, Tuple2.of(reason, 1L));
            }
            for (Event event : batch.events) {
                if (event.crawler != null) {
                    ofAllCrawlers.inc();
                    ofCrawlers.computeIfAbsent(event.crawler, this::ofCrawler).inc();
                }
                out.collect(event);
            }
        }
    }

    private static final class EachLine implements WatermarkGenerator<Batch> {

        private long latest = Long.MIN_VALUE;

        @Override
        public void onEvent(Batch batch, long timestamp, WatermarkOutput output) {
            if (batch.latestAt() > latest) {
                latest = batch.latestAt();
                output.emitWatermark(new Watermark(latest - DELAY_MS - 1));
            }
        }

        @Override
        public void onPeriodicEmit(WatermarkOutput output) {}
    }
}
