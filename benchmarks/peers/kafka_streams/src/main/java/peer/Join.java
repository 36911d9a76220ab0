package peer;

import java.time.Duration;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;
import java.util.concurrent.atomic.LongAdder;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.JoinWindows;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.StreamJoined;
import org.apache.kafka.streams.processor.api.ContextualProcessor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.StoreBuilder;
import org.apache.kafka.streams.state.Stores;

/**
 * Joins both arms' answers by request id within a window of event time and counts per segment.
 *
 * <p>Arguments: broker, baseline topic, candidate topic, application id, state folder, threads, "changelog" or
 * "no-changelog", window in ms, grace in ms, pairs to wait for. Prints lines "progress EPOCH_MS PAIRS", at the
 * end "result" with the counts as JSON.
 */
public final class Join {
  private static final String SEGMENTS = "segments";
  private static final long EACH_MS = 100;
  private static final long STALLED_AFTER_MS = 20_000;

  private static final LongAdder PAIRS = new LongAdder();
  /** The newest counts of each task's store, by task and segment, for the report at the end. */
  private static final ConcurrentMap<String, Counts> FOUND = new ConcurrentHashMap<>();

  private Join() {}

  public static void main(String[] args) throws InterruptedException {
    boolean logged = args[6].equals("changelog");
    Topology topology = topology(args[1], args[2], logged, Long.parseLong(args[7]), Long.parseLong(args[8]));
    long wanted = Long.parseLong(args[9]);
    KafkaStreams streams = new KafkaStreams(topology, settings(args[0], args[3], args[4], args[5]));
    streams.setUncaughtExceptionHandler(
        error -> {
          error.printStackTrace();
          Runtime.getRuntime().halt(1);
          return null;
        });
    streams.start();
    long last = -1;
    long changedAtMs = System.currentTimeMillis();
    while (last < wanted) {
      Thread.sleep(EACH_MS);
      long nowMs = System.currentTimeMillis();
      long pairs = PAIRS.sum();
      if (pairs != last) {
        System.out.println("progress " + nowMs + " " + pairs);
        changedAtMs = nowMs;
      } else if (pairs > 0 && nowMs - changedAtMs > STALLED_AFTER_MS) {
        break;
      }
      last = pairs;
    }
    System.out.println("result " + result());
    System.out.flush();
    streams.close(Duration.ofSeconds(5));
    System.exit(0);
  }

  private static Properties settings(String broker, String application, String folder, String threads) {
    Properties settings = new Properties();
    settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, broker);
    settings.put(StreamsConfig.APPLICATION_ID_CONFIG, application);
    settings.put(StreamsConfig.STATE_DIR_CONFIG, folder);
    settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, threads);
    settings.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
    settings.put(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest");
    settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.MAX_POLL_RECORDS_CONFIG), 5_000);
    return settings;
  }

  private static Topology topology(String baseline, String candidate, boolean logged, long windowMs, long graceMs) {
    StreamsBuilder builder = new StreamsBuilder();
    StoreBuilder<KeyValueStore<String, Counts>> store =
        Stores.keyValueStoreBuilder(Stores.inMemoryKeyValueStore(SEGMENTS), Serdes.String(), Counts.serde());
    builder.addStateStore(
        (logged ? store.withLoggingEnabled(Map.of()) : store.withLoggingDisabled()).withCachingEnabled());
    StreamJoined<String, Answer, Answer> joined =
        StreamJoined.with(Serdes.String(), Answer.stored(), Answer.stored()).withStoreName("join");
    JoinWindows window = JoinWindows.ofTimeDifferenceAndGrace(Duration.ofMillis(windowMs), Duration.ofMillis(graceMs));
    KStream<String, Answer> theirs = answers(builder, candidate);
    answers(builder, baseline)
        .join(theirs, Counts.Pair::new, window, logged ? joined : joined.withLoggingDisabled())
        .process(Counting::new, SEGMENTS);
    return builder.build();
  }

  private static KStream<String, Answer> answers(StreamsBuilder builder, String topic) {
    Serde<Answer> serde = Serdes.serdeFrom((name, answer) -> null, new Answer.EventReader());
    return builder.stream(
        topic,
        Consumed.with(Serdes.String(), serde)
            .withTimestampExtractor((record, before) -> ((Answer) record.value()).atMs()));
  }

  private static String result() {
    Map<String, Counts> segments = new TreeMap<>();
    FOUND.forEach((place, counts) -> segments.merge(place.substring(place.indexOf('/') + 1), counts, Counts::plus));
    Counts all = segments.values().stream().reduce(Counts.NONE, Counts::plus);
    StringBuilder out = new StringBuilder();
    out.append("{\"pairs\":").append(all.pairs()).append(",\"label_changes\":").append(all.labelChanges());
    out.append(",\"candidate_errors\":").append(all.candidateErrors()).append(",\"segments\":{");
    String comma = "";
    for (Map.Entry<String, Counts> entry : segments.entrySet()) {
      out.append(comma).append('"').append(entry.getKey()).append("\":").append(entry.getValue().pairs());
      comma = ",";
    }
    return out.append("}}").toString();
  }

  /** Counts pairs in the task's store, which the changelog keeps. */
  private static final class Counting extends ContextualProcessor<String, Counts.Pair, Void, Void> {
    private KeyValueStore<String, Counts> store;
    private String task;

    @Override
    public void init(ProcessorContext<Void, Void> context) {
      super.init(context);
      store = context.getStateStore(SEGMENTS);
      task = context.taskId() + "/";
    }

    @Override
    public void process(Record<String, Counts.Pair> record) {
      String segment = record.value().baseline().segment();
      Counts before = store.get(segment);
      Counts counts = (before == null ? Counts.NONE : before).with(record.value());
      store.put(segment, counts);
      FOUND.put(task + segment, counts);
      PAIRS.increment();
    }
  }
}
