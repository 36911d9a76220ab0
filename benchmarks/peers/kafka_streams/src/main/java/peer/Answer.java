package peer;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.TreeMap;
import org.apache.avro.io.BinaryDecoder;
import org.apache.avro.io.DecoderFactory;
import org.apache.kafka.common.errors.SerializationException;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;

/**
 * What the comparison needs of a prediction event.
 *
 * <p>{@code segment} holds the values of all dimensions in the order of their names.
 */
record Answer(String segment, long atMs, double latencyMs, boolean failed, String label, double confidence) {
  private static final int HEADER_BYTES = 10; // C3 01 and the schema's fingerprint
  private static final int OK = 1; // in the enum Status: UNKNOWN, ok, error, timeout, shed

  /**
   * Reads the event field by field: faster than Avro's generic reader, which makes an object of each field.
   *
   * <p>All stream threads share one instance.
   */
  static final class EventReader implements Deserializer<Answer> {
    private final ThreadLocal<BinaryDecoder> decoders = new ThreadLocal<>();

    @Override
    public Answer deserialize(String topic, byte[] data) {
      try {
        int length = data.length - HEADER_BYTES;
        BinaryDecoder decoder = DecoderFactory.get().binaryDecoder(data, HEADER_BYTES, length, decoders.get());
        decoders.set(decoder);
        return read(decoder);
      } catch (IOException e) {
        throw new SerializationException("no PredictionEvent", e);
      }
    }

    private static Answer read(BinaryDecoder in) throws IOException {
      in.skipString(); // request_id, which is the key
      in.skipString(); // rollout_id
      in.readEnum(); // arm
      in.readEnum(); // role
      long atMs = in.readLong();
      double latencyMs = in.readDouble();
      boolean failed = in.readEnum() != OK;
      in.skipString(); // model_version
      String label = in.readIndex() == 1 ? in.readString() : null;
      double confidence = in.readIndex() == 1 ? in.readDouble() : Double.NaN;
      for (int skipped = 0; skipped < 5; skipped++) {
        in.skipString(); // output, endpoint, instance_id, trace_id, error_type
      }
      return new Answer(segment(in), atMs, latencyMs, failed, label, confidence);
    }

    private static String segment(BinaryDecoder in) throws IOException {
      Map<String, String> values = new TreeMap<>();
      for (long count = in.readMapStart(); count > 0; count = in.mapNext()) {
        for (long i = 0; i < count; i++) {
          values.put(in.readString(), in.readString());
        }
      }
      return String.join("|", values.values());
    }
  }

  /** The short form in which the window stores keep an answer. */
  static Serde<Answer> stored() {
    return Serdes.serdeFrom((topic, answer) -> answer.toBytes(), (topic, data) -> fromBytes(data));
  }

  private byte[] toBytes() {
    byte[] segmentBytes = segment.getBytes(StandardCharsets.UTF_8);
    byte[] labelBytes = label == null ? new byte[0] : label.getBytes(StandardCharsets.UTF_8);
    ByteBuffer out = ByteBuffer.allocate(29 + segmentBytes.length + labelBytes.length);
    out.putLong(atMs).putDouble(latencyMs).put((byte) (failed ? 1 : 0)).putDouble(confidence);
    out.putShort((short) segmentBytes.length).put(segmentBytes);
    return out.putShort((short) (label == null ? -1 : labelBytes.length)).put(labelBytes).array();
  }

  private static Answer fromBytes(byte[] data) {
    ByteBuffer in = ByteBuffer.wrap(data);
    long atMs = in.getLong();
    double latencyMs = in.getDouble();
    boolean failed = in.get() == 1;
    double confidence = in.getDouble();
    String segment = text(in, in.getShort());
    return new Answer(segment, atMs, latencyMs, failed, text(in, in.getShort()), confidence);
  }

  private static String text(ByteBuffer in, int length) {
    if (length < 0) {
      return null;
    }
    String found = new String(in.array(), in.position(), length, StandardCharsets.UTF_8);
    in.position(in.position() + length);
    return found;
  }
}
