package shopstream;

import java.util.Properties;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.streaming.api.functions.AssignerWithPeriodicWatermarks;
import org.apache.flink.streaming.api.watermark.Watermark;
import org.apache.flink.streaming.connectors.kinesis.FlinkKinesisConsumer;
import org.apache.flink.streaming.connectors.kinesis.serialization.KinesisDeserializationSchema;

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
        }

        @Override
        public void run(SourceContext<Batch> context) throws Exception {
            super.run(context);
            // A source whose shards are idle counts as idle, and Flink drops the watermark that it sends for an idle source
            // when a job is drained: what happened last would never be judged. This one says nothing, but wakes it.
            context.emitWatermark(new Watermark(Long.MIN_VALUE));
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
