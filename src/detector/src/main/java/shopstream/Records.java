package shopstream;

import java.time.Duration;
import java.util.Properties;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.streaming.api.functions.AssignerWithPeriodicWatermarks;
import org.apache.flink.streaming.api.functions.source.SourceFunction.SourceContext;
import org.apache.flink.streaming.api.watermark.Watermark;
import org.apache.flink.streaming.connectors.kinesis.FlinkKinesisConsumer;
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
