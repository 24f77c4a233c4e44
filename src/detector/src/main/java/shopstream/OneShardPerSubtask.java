package shopstream;

import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import org.apache.flink.kinesis.shaded.com.amazonaws.services.kinesis.model.Shard;
import org.apache.flink.streaming.connectors.kinesis.KinesisShardAssigner;
import org.apache.flink.streaming.connectors.kinesis.model.StreamShardHandle;
import org.apache.flink.streaming.connectors.kinesis.table.KinesisDynamicShardAssignerFactory;
import org.apache.flink.streaming.connectors.kinesis.util.UniformShardAssigner;

/**
 * Assigns shards as the connector's "uniform" does, and fails the job when a subtask would read two open shards.
 *
 * <p>A subtask has one watermark. While a backlog is read, the faster shard's watermark makes the slower shard's events
 * late, and what is late is dropped: alerts would be missing in silence.
 *
 * <p>Each subtask has an assigner of its own, which it asks about every shard of the stream: at its start about all that
 * exist, later once about each new one. When an old one is closed it is not told, but the new shards name their parents.
 */
public class OneShardPerSubtask implements KinesisShardAssigner {

    private final KinesisShardAssigner uniform = new UniformShardAssigner();
    private final Map<Integer, String> openShards = new HashMap<>(); // by subtask
    private final Set<String> closedShards = new HashSet<>();

    /** Synchronized: a checkpoint during the start asks too, about the shards of the last one. */
    @Override
    public synchronized int assign(StreamShardHandle handle, int parallelism) {
        Shard shard = handle.getShard();
        String id = shard.getShardId();
        closedShards.add(shard.getParentShardId());
        closedShards.add(shard.getAdjacentParentShardId());
        if (handle.isClosed()) {
            closedShards.add(id);
        }
        openShards.values().removeAll(closedShards);

        int hash = uniform.assign(handle, parallelism);
        int subtask = Math.abs(hash % parallelism); // as KinesisDataFetcher makes it of the hash
        String other = closedShards.contains(id) ? null : openShards.putIfAbsent(subtask, id);
        if (other != null && !other.equals(id)) {
            throw new IllegalStateException(
                    String.format(
                            "with parallelism %d, one subtask would read %s and %s of stream %s, whose events would make "
                                    + "each other late: give the stream as many shards of equal size (aws kinesis "
                                    + "update-shard-count), or stop the application by force, set "
                                    + "raw_stream_shard_count to their number and deploy",
                            parallelism, other, id, handle.getStreamName()));
        }
        return hash;
    }

    /** Makes the assigner known to the connector's table option scan.shard-assigner, through META-INF/services. */
    public static class Factory implements KinesisDynamicShardAssignerFactory {

        @Override
        public String shardAssignerIdentifer() {
            return "one-shard-per-subtask";
        }

        @Override
        public KinesisShardAssigner getShardAssigner() {
            return new OneShardPerSubtask();
        }
    }
}
