package shopstream;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import org.apache.flink.core.memory.DataInputView;
import org.apache.flink.core.memory.DataOutputView;
import org.apache.flink.types.CopyableValue;

/** All lines of one record: the events that the rules judge, and why they leave the others out. */
public final class Batch implements CopyableValue<Batch> {

    public List<Event> events = new ArrayList<>(1);

    /** For each line that is no event to judge: why, and its day, as a key of {@link Tally}. */
    public List<String> unjudged = new ArrayList<>(0);

    /** The latest time of the events, {@code Long.MIN_VALUE} without one. */
    public long latestAt() {
        long latest = Long.MIN_VALUE;
        for (Event event : events) {
            latest = Math.max(latest, event.at);
        }
        return latest;
    }

    // Nothing changes a batch after it was parsed, so its copies share what it holds.

    @Override
    public Batch copy() {
        Batch copy = new Batch();
        copyTo(copy);
        return copy;
    }

    @Override
    public void copyTo(Batch target) {
        target.events = events;
        target.unjudged = unjudged;
    }

    @Override
    public int getBinaryLength() {
        return -1;
    }

    @Override
    public void copy(DataInputView in, DataOutputView out) throws IOException {
        Batch batch = new Batch();
        batch.read(in);
        batch.write(out);
    }

    @Override
    public void write(DataOutputView out) throws IOException {
        out.writeInt(events.size());
        for (Event event : events) {
            event.write(out);
        }
        out.writeInt(unjudged.size());
        for (String reason : unjudged) {
            out.writeUTF(reason);
        }
    }

    @Override
    public void read(DataInputView in) throws IOException {
        events = new ArrayList<>();
        for (int count = in.readInt(); count > 0; count--) {
            Event event = new Event();
            event.read(in);
            events.add(event);
        }
        unjudged = new ArrayList<>();
        for (int count = in.readInt(); count > 0; count--) {
            unjudged.add(in.readUTF());
        }
    }
}
