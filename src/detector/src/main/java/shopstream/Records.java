package shopstream;

import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.streaming.api.functions.AssignerWithPeriodicWatermarks;
import org.apache.flink.streaming.api.watermark.Watermark;
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
