package shopstream;

import java.time.Duration;
import java.util.List;
import java.util.Properties;
import org.apache.flink.api.common.functions.RuntimeContext;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.kinesis.shaded.com.amazonaws.services.kinesis.model.HashKeyRange;
import org.apache.flink.kinesis.shaded.com.amazonaws.services.kinesis.model.Shard;
import org.apache.flink.metrics.MetricGroup;
import org.apache.flink.streaming.api.functions.AssignerWithPeriodicWatermarks;
import org.apache.flink.streaming.api.functions.source.SourceFunction.SourceContext;
import org.apache.flink.streaming.api.watermark.Watermark;
import org.apache.flink.streaming.connectors.kinesis.FlinkKinesisConsumer;
import org.apache.flink.streaming.connectors.kinesis.internals.KinesisDataFetcher;
import org.apache.flink.streaming.connectors.kinesis.internals.publisher.RecordPublisher;
import org.apache.flink.streaming.connectors.kinesis.model.SequenceNumber;
import org.apache.flink.streaming.connectors.kinesis.model.StreamShardHandle;
import org.apache.flink.streaming.connectors.kinesis.serialization.KinesisDeserializationSchema;
import org.apache.flink.streaming.connectors.kinesis.util.UniformShardAssigner;

/** Records of stream 1. The connector keeps a watermark for each shard, with a copy of {@link Watermarks}. */
final class Records implements KinesisDeserializationSchema<Batch> {

    private static final long serialVersionUID = 1;

    private final Contract contract;

    Records(Contract contract) {
        this.contract = contract;
    }

    @Override
    public Batch deserialize(
            byte[] record, String partitionKey, String sequenceNumber, long arrivedAt, String stream, String shard) {
        return contract.read(record, arrivedAt);
    }

    @Override
    public TypeInformation<Batch> getProducedType() {
        return TypeInformation.of(Batch.class);
    }

    /** The connector's source. After a drain it lets the end of event time pass. */
    static final class Source extends FlinkKinesisConsumer<Batch> {

        private static final long serialVersionUID = 1;

        Source(String stream, Records records, Properties properties) {
            super(stream, records, properties);
            setPeriodicWatermarkAssigner(new Watermarks());
            // By the middle of their hash keys. By default some subtasks get two of as many shards, others none.
            setShardAssigner(new UniformShardAssigner());
        }

        @Override
        public void run(SourceContext<Batch> context) throws Exception {
            super.run(new Patient(context));
        }

        @Override
        protected KinesisDataFetcher<Batch> createFetcher(
                List<String> streams,
                SourceContext<Batch> context,
                RuntimeContext runtime,
                Properties properties,
                KinesisDeserializationSchema<Batch> records) {
            return new Fetcher(streams, context, runtime, properties, records, this);
        }
    }

    /**
     * Reads every record of an aggregate.
     *
     * <p>The connector drops an aggregate that holds a record whose key belongs to another shard, without a word. Producers
     * that pack the records of many keys into one send such aggregates. So a shard seems to have all keys here.
     */
    private static final class Fetcher extends KinesisDataFetcher<Batch> {

        // The last of 128 bits.
        private static final String LAST_KEY = "340282366920938463463374607431768211455";

        Fetcher(
                List<String> streams,
                SourceContext<Batch> context,
                RuntimeContext runtime,
                Properties properties,
                KinesisDeserializationSchema<Batch> records,
                Source source) {
            super(
                    streams,
                    context,
                    runtime,
                    properties,
                    records,
                    source.getShardAssigner(),
                    source.getPeriodicWatermarkAssigner(),
                    source.getWatermarkTracker());
        }

        @Override
        protected RecordPublisher createRecordPublisher(
                SequenceNumber from, Properties properties, MetricGroup metrics, StreamShardHandle handle)
                throws InterruptedException {
            Shard shard = handle.getShard().clone();
            shard.setHashKeyRange(new HashKeyRange().withStartingHashKey("0").withEndingHashKey(LAST_KEY));
            return super.createRecordPublisher(
                    from, properties, metrics, new StreamShardHandle(handle.getStreamName(), shard));
        }
    }

    /**
     * Passes on what the source sends, but for three things.
     *
     * <p>It keeps back the first watermarks. The connector leaves a shard out of the watermark until it has read a record of
     * it. With a backlog, a subtask's other shards would make its first records late.
     *
     * <p>It does not let a source that has just started count as idle before it has read anything: the records of other
     * subtasks would make its first ones late.
     *
     * <p>And it wakes an idle source before it ends. A source whose shards are idle counts as idle, and Flink drops the
     * watermark that it sends for an idle source when a job is drained: what happened last would never be judged.
     */
    private static final class Patient implements SourceContext<Batch> {

        private final SourceContext<Batch> context;
        private final long startedAt = System.nanoTime();
        private boolean hasRead;

        Patient(SourceContext<Batch> context) {
            this.context = context;
        }

        @Override
        public void close() {
            context.emitWatermark(new Watermark(Long.MIN_VALUE)); // which says nothing
            context.close();
        }

        @Override
        public void collect(Batch batch) {
            hasRead = true;
            context.collect(batch);
        }

        @Override
        public void collectWithTimestamp(Batch batch, long timestamp) {
            hasRead = true;
            context.collectWithTimestamp(batch, timestamp);
        }

        @Override
        public void emitWatermark(Watermark watermark) {
            if (runsFor(Detector.IDLE)) {
                context.emitWatermark(watermark);
            }
        }

        @Override
        public void markAsTemporarilyIdle() {
            if (hasRead || runsFor(Detector.START)) {
                context.markAsTemporarilyIdle(); // the connector asks again and again
            }
        }

        private boolean runsFor(Duration time) {
            return System.nanoTime() - startedAt > time.toNanos();
        }

        @Override
        public Object getCheckpointLock() {
            return context.getCheckpointLock();
        }
    }

    /** The watermark of one shard: so far behind its latest event. */
    static final class Watermarks implements AssignerWithPeriodicWatermarks<Batch> {

        private static final long serialVersionUID = 1;

        private long latest = Long.MIN_VALUE;

        @Override
        public long extractTimestamp(Batch batch, long arrivedAt) {
            latest = Math.max(latest, batch.latestAt());
            return latest;
        }

        @Override
        public Watermark getCurrentWatermark() {
            return new Watermark(latest == Long.MIN_VALUE ? latest : latest - Detector.DELAY_MS - 1);
        }
    }
}
