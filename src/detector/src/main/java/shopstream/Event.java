package shopstream;

import java.io.IOException;
import org.apache.flink.core.memory.DataInputView;
import org.apache.flink.core.memory.DataOutputView;
import org.apache.flink.types.CopyableValue;
import org.apache.flink.types.StringValue;

/**
 * What the rules need of an event of docs/contract.md. Nothing changes it after it was parsed.
 *
 * <p>Some events are in snapshots: after a change of what is written, a job could not start from those before it.
 */
public final class Event implements CopyableValue<Event> {

    // In this order: what happens in one instant is counted in it.
    public static final byte VIEW = 1;
    public static final byte CART = 2;
    public static final byte REMOVE = 3;
    public static final byte PURCHASE = 4;

    /** Milliseconds since 1970, in UTC. */
    public long at;

    public byte kind;

    /** {@code user#<id>}, {@code session#<id>}, or null where nobody is known. */
    public String actor;

    /** The id, or null where the event is about no product. */
    public String product;

    /** An address of IPv4, or the /64 network of one of IPv6; null where there is none. */
    public String address;

    /** The name of the crawler that the user agent declares, or null. Anybody can declare anything. */
    public String crawler;

    /** Hash of the session, 0 where there is none. */
    public long session;

    /** Hash of the product, or of the page where there is no product. */
    public long thing;

    /** The same for each delivery of the event, and different for different events. */
    public long key;

    @Override
    public void write(DataOutputView out) throws IOException {
        out.writeLong(at);
        out.writeByte(kind);
        StringValue.writeString(actor, out);
        StringValue.writeString(product, out);
        StringValue.writeString(address, out);
        StringValue.writeString(crawler, out);
        out.writeLong(session);
        out.writeLong(thing);
        out.writeLong(key);
    }

    @Override
    public void read(DataInputView in) throws IOException {
        at = in.readLong();
        kind = in.readByte();
        actor = StringValue.readString(in);
        product = StringValue.readString(in);
        address = StringValue.readString(in);
        crawler = StringValue.readString(in);
        session = in.readLong();
        thing = in.readLong();
        key = in.readLong();
    }

    @Override
    public Event copy() {
        Event copy = new Event();
        copyTo(copy);
        return copy;
    }

    @Override
    public void copyTo(Event target) {
        target.at = at;
        target.kind = kind;
        target.actor = actor;
        target.product = product;
        target.address = address;
        target.crawler = crawler;
        target.session = session;
        target.thing = thing;
        target.key = key;
    }

    @Override
    public int getBinaryLength() {
        return -1;
    }

    @Override
    public void copy(DataInputView in, DataOutputView out) throws IOException {
        Event event = new Event();
        event.read(in);
        event.write(out);
    }
}
