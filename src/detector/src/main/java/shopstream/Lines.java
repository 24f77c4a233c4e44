package shopstream;

import java.io.IOException;
import java.io.InputStream;
import java.util.Arrays;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.file.src.reader.SimpleStreamFormat;
import org.apache.flink.connector.file.src.reader.StreamFormat;
import org.apache.flink.core.fs.FSDataInputStream;

/** Files in place of stream 1, for tests, the score and past events: each line is a record that arrives now. */
final class Lines extends SimpleStreamFormat<Batch> {

    private static final long serialVersionUID = 1;

    private final Contract contract;

    Lines(Contract contract) {
        this.contract = contract;
    }

    @Override
    public Reader createReader(Configuration configuration, FSDataInputStream stream) {
        return new Reader(contract, stream);
    }

    @Override
    public TypeInformation<Batch> getProducedType() {
        return TypeInformation.of(Batch.class);
    }

    /** Reads one file. */
    static final class Reader implements StreamFormat.Reader<Batch> {

        private final Contract contract;
        private final InputStream stream;
        private byte[] bytes = new byte[1 << 16];
        private int start; // of the next line
        private int end; // of what was read

        Reader(Contract contract, InputStream stream) {
            this.contract = contract;
            this.stream = stream;
        }

        @Override
        public Batch read() throws IOException {
            for (int place = start; ; place++) {
                if (place == end) {
                    place -= makeRoom();
                    int count = stream.read(bytes, end, bytes.length - end);
                    if (count < 0) {
                        return start == end ? null : record(end, end);
                    }
                    end += count;
                }
                if (bytes[place] == '\n') {
                    return record(place, place + 1);
                }
            }
        }

        private Batch record(int until, int next) {
            byte[] record = Arrays.copyOfRange(bytes, start, until);
            start = next;
            return contract.read(record, System.currentTimeMillis());
        }

        /** Moves what is left to the front. Returns by how much. */
        private int makeRoom() {
            int moved = start;
            byte[] room = 2 * (end - start) > bytes.length ? new byte[2 * bytes.length] : bytes;
            System.arraycopy(bytes, start, room, 0, end - start);
            bytes = room;
            end -= start;
            start = 0;
            return moved;
        }

        @Override
        public void close() throws IOException {
            stream.close();
        }
    }
}
