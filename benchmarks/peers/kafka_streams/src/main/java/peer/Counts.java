package peer;

import java.nio.ByteBuffer;
import java.util.Objects;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;

/** What is counted of the pairs of one segment. */
record Counts(long pairs, long labelChanges, long candidateErrors, long slower) {
  static final Counts NONE = new Counts(0, 0, 0, 0);

  /** With one pair more. */
  Counts with(Pair pair) {
    Answer ours = pair.baseline();
    Answer theirs = pair.candidate();
    return new Counts(
        pairs + 1,
        labelChanges + (Objects.equals(ours.label(), theirs.label()) ? 0 : 1),
        candidateErrors + (theirs.failed() ? 1 : 0),
        slower + (theirs.latencyMs() > ours.latencyMs() ? 1 : 0));
  }

  Counts plus(Counts other) {
    return new Counts(
        pairs + other.pairs,
        labelChanges + other.labelChanges,
        candidateErrors + other.candidateErrors,
        slower + other.slower);
  }

  static Serde<Counts> serde() {
    return Serdes.serdeFrom((topic, counts) -> counts.toBytes(), (topic, data) -> fromBytes(data));
  }

  private byte[] toBytes() {
    ByteBuffer out = ByteBuffer.allocate(32);
    return out.putLong(pairs).putLong(labelChanges).putLong(candidateErrors).putLong(slower).array();
  }

  private static Counts fromBytes(byte[] data) {
    if (data == null) {
      return null;
    }
    ByteBuffer in = ByteBuffer.wrap(data);
    return new Counts(in.getLong(), in.getLong(), in.getLong(), in.getLong());
  }

  /** Both answers to one request. */
  record Pair(Answer baseline, Answer candidate) {}
}
