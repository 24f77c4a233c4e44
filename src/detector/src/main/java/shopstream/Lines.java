package shopstream;

import java.io.BufferedInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
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
        private final ByteArrayOutputStream line = new ByteArrayOutputStream();

        Reader(Contract contract, InputStream stream) {
            this.contract = contract;
            this.stream = new BufferedInputStream(stream, 1 << 16);
        }

        @Override
        public Batch read() throws IOException {
            line.reset();
            int next = stream.read();
            if (next < 0) {
                return null;
            }
            for (; next >= 0 && next != '\n'; next = stream.read()) {
                line.write(next);
            }
            return contract.read(line.toByteArray(), System.currentTimeMillis());
        }

        @Override
        public void close() throws IOException {
            stream.close();
        }
    }
}
