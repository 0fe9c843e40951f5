import org.apache.kafka.streams.*; import org.apache.kafka.streams.kstream.*; import org.apache.kafka.common.serialization.*; import java.util.*; import java.time.*; import java.nio.file.*;
import org.apache.kafka.streams.test.*;
public class GoldenStreams {
 static class P implements org.apache.kafka.streams.processor.api.Processor<String,String,String,String>{ org.apache.kafka.streams.processor.api.ProcessorContext<String,String> c; org.apache.kafka.streams.state.KeyValueStore<String,Long> st;
  public void init(org.apache.kafka.streams.processor.api.ProcessorContext<String,String> x){ c=x; st=c.getStateStore("st"); c.schedule(Duration.ofMillis(20),org.apache.kafka.streams.processor.PunctuationType.STREAM_TIME,t->{ try(var it=st.all()){ while(it.hasNext()){ var e=it.next(); c.forward(new org.apache.kafka.streams.processor.api.Record<>(e.key,"S"+e.value,t)); } } }); c.schedule(Duration.ofMillis(1000),org.apache.kafka.streams.processor.PunctuationType.WALL_CLOCK_TIME,t->{ c.forward(new org.apache.kafka.streams.processor.api.Record<>("wall","W"+c.currentStreamTimeMs(),t)); for(String k: List.of("a","b")) st.delete(k); }); }
  public void process(org.apache.kafka.streams.processor.api.Record<String,String> r){ Long n=st.get(r.key()); st.put(r.key(),n==null?1:n+1); c.forward(r.withValue(r.value()+c.recordMetadata().get().offset()+"@"+c.currentStreamTimeMs())); } }
 static Serde<String> S=Serdes.String();
 static String hx(byte[] b){ return b==null?"null":java.util.HexFormat.of().formatHex(b); }
 static String w(Windowed<String> k){ return k.key()+"@"+k.window().start()+"-"+k.window().end(); }
 static void build(String n, StreamsBuilder b){
  KStream<String,String> a=b.stream("a",Consumed.with(S,S));
  Duration D10=Duration.ofMillis(10), D5=Duration.ofMillis(5), D20=Duration.ofMillis(20);
  switch(n){
  case "count": a.groupByKey().count().toStream().mapValues(v->""+v).to("out"); break;
  case "groupby": a.groupBy((k,v)->v.substring(0,1)).count().toStream().mapValues(v->""+v).to("out"); break;
  case "reduce": a.groupByKey().reduce((x,y)->x+y).toStream().to("out"); break;
  case "branch": { Map<String,KStream<String,String>> m=a.split(Named.as("sp-")).branch((k,v)->v.compareTo("m")<0).branch((k,v)->v.compareTo("t")<0,Branched.as("x")).defaultBranch(); m.get("sp-1").mapValues(v->v+"1").merge(m.get("sp-x").mapValues(v->v+"x")).merge(m.get("sp-0").filterNot((k,v)->v.equals("z"))).to("out"); break; }
  case "tumbling": a.groupByKey().windowedBy(TimeWindows.ofSizeAndGrace(D10,D5)).count().toStream((k,v)->w(k)).mapValues(v->""+v).to("out",Produced.with(S,S)); break;
  case "hopping": a.groupByKey().windowedBy(TimeWindows.ofSizeAndGrace(D10,D5).advanceBy(Duration.ofMillis(3))).reduce((x,y)->x+y).toStream((k,v)->w(k)).to("out",Produced.with(S,S)); break;
  case "sliding": a.groupByKey().windowedBy(SlidingWindows.ofTimeDifferenceAndGrace(D10,D20)).reduce((x,y)->x+y).toStream((k,v)->w(k)).to("out",Produced.with(S,S)); break;
  case "session": a.groupByKey().windowedBy(SessionWindows.ofInactivityGapAndGrace(D5,D20)).reduce((x,y)->x+y).toStream((k,v)->w(k)).to("out",Produced.with(S,S)); break;
  case "suppress": a.groupByKey().windowedBy(TimeWindows.ofSizeAndGrace(D10,D5)).reduce((x,y)->x+y,Materialized.with(S,S)).suppress(Suppressed.untilWindowCloses(Suppressed.BufferConfig.unbounded())).toStream((k,v)->w(k)).to("out",Produced.with(S,S)); break;
  case "suppresstime": b.table("t",Consumed.with(S,S)).suppress(Suppressed.untilTimeLimit(D10,Suppressed.BufferConfig.maxRecords(3).emitEarlyWhenFull())).toStream().to("out"); break;
  case "onclose": a.groupByKey().windowedBy(TimeWindows.ofSizeAndGrace(D10,D5)).emitStrategy(EmitStrategy.onWindowClose()).count().toStream((k,v)->w(k)).mapValues(v->""+v).to("out",Produced.with(S,S)); break;
  case "sessionclose": a.groupByKey().windowedBy(SessionWindows.ofInactivityGapAndGrace(D5,D5)).emitStrategy(EmitStrategy.onWindowClose()).count().toStream((k,v)->w(k)).mapValues(v->""+v).to("out",Produced.with(S,S)); break;
  case "jstream": a.join(b.stream("b",Consumed.with(S,S)),(x,y)->x+y,JoinWindows.ofTimeDifferenceAndGrace(D5,D10),StreamJoined.with(S,S,S)).to("out"); break;
  case "ljstream": a.leftJoin(b.stream("b",Consumed.with(S,S)),(x,y)->x+y,JoinWindows.ofTimeDifferenceAndGrace(D5,D10),StreamJoined.with(S,S,S)).to("out"); break;
  case "ojstream": a.outerJoin(b.stream("b",Consumed.with(S,S)),(x,y)->x+y,JoinWindows.ofTimeDifferenceWithNoGrace(D5).after(Duration.ofMillis(2)),StreamJoined.with(S,S,S)).to("out"); break;
  case "selfjoin": a.join(a,(x,y)->x+y,JoinWindows.ofTimeDifferenceAndGrace(D5,D10),StreamJoined.with(S,S,S)).to("out"); break;
  case "rejoin": a.selectKey((k,v)->v.substring(0,1)).leftJoin(b.stream("b",Consumed.with(S,S)).selectKey((k,v)->k),(x,y)->x+y,JoinWindows.ofTimeDifferenceAndGrace(D5,D10),StreamJoined.with(S,S,S)).to("out"); break;
  case "jtable": a.leftJoin(b.table("t",Consumed.with(S,S)),(x,y)->x+y).to("out"); break;
  case "jtable2": a.map((k,v)->KeyValue.pair(k+"",v)).join(b.table("t",Consumed.with(S,S)).filter((k,v)->v.compareTo("c")>0),(x,y)->x+y,Joined.with(S,S,S)).to("out"); break;
  case "ttjoin": b.table("t",Consumed.with(S,S)).join(b.table("u",Consumed.with(S,S)),(x,y)->x+y).toStream().to("out"); break;
  case "ttleft": b.table("t",Consumed.with(S,S)).leftJoin(b.table("u",Consumed.with(S,S)),(x,y)->x+y,Materialized.<String,String,org.apache.kafka.streams.state.KeyValueStore<org.apache.kafka.common.utils.Bytes,byte[]>>as("jj").withValueSerde(S)).toStream().to("out"); break;
  case "ttouter": b.table("t",Consumed.with(S,S)).outerJoin(b.table("u",Consumed.with(S,S)).filter((k,v)->v.compareTo("p")<0),(x,y)->x+y).filter((k,v)->!v.equals("ab")).toStream().to("out"); break;
  case "tagg": b.table("t",Consumed.with(S,S)).groupBy((k,v)->KeyValue.pair(v.substring(0,1),v),Grouped.with(S,S)).aggregate(()->"",(k,v,g)->g+"+"+v,(k,v,g)->g+"-"+v,Materialized.with(S,S)).toStream().to("out"); break;
  case "tcount": b.table("t",Consumed.with(S,S)).mapValues(v->v+"!").groupBy((k,v)->KeyValue.pair(v.substring(0,1),v),Grouped.with(S,S)).count().toStream().mapValues(v->""+v).to("out"); break;
  case "tred": b.table("t",Consumed.with(S,S)).filter((k,v)->v.compareTo("m")<0).groupBy((k,v)->KeyValue.pair(v.substring(0,1),v),Grouped.with(S,S)).reduce((x,y)->x+"+"+y,(x,y)->x+"-"+y).toStream().to("out"); break;
  case "totable": a.toTable().join(a.groupByKey().reduce((x,y)->x+y),(x,y)->x+y).toStream().to("out"); break;
  case "global": a.leftJoin(b.globalTable("t",Consumed.with(S,S)),(k,v)->k,(x,y)->x+y).join(b.globalTable("u",Consumed.with(S,S)),(k,v)->v.substring(0,1),(x,y)->x+y).to("out"); break;
  case "cogroup": a.groupByKey().<String>cogroup((k,v,g)->g+v).cogroup(b.stream("b",Consumed.with(S,S)).groupBy((k,v)->k,Grouped.with(S,S)),(k,v,g)->g+v.toUpperCase()).aggregate(()->"",Materialized.with(S,S)).toStream().to("out"); break;
  case "process": { b.addStateStore(org.apache.kafka.streams.state.Stores.keyValueStoreBuilder(org.apache.kafka.streams.state.Stores.inMemoryKeyValueStore("st"),S,Serdes.Long())); a.process(P::new,"st").to("out",Produced.with(S,S)); break; }
  case "procvals": a.processValues(()->new org.apache.kafka.streams.processor.api.FixedKeyProcessor<String,String,String>(){ org.apache.kafka.streams.processor.api.FixedKeyProcessorContext<String,String> c; public void init(org.apache.kafka.streams.processor.api.FixedKeyProcessorContext<String,String> x){c=x;} public void process(org.apache.kafka.streams.processor.api.FixedKeyRecord<String,String> r){ c.forward(r.withValue(r.value()+c.currentStreamTimeMs())); c.forward(r.withValue("2"+r.value())); }}).groupByKey().count().toStream().mapValues(v->""+v).to("out"); break;
  case "repart": a.repartition(Repartitioned.with(S,S).withName("rp").withNumberOfPartitions(3)).merge(a.repartition()).to("out"); break;
  case "extract": a.filter((k,v)->v.length()>1).to((k,v,c)->v.endsWith("x")?"out":"other",Produced.with(S,S)); break;
  case "named": a.filter((k,v)->true,Named.as("f1")).mapValues(v->v,Named.as("m1")).selectKey((k,v)->v,Named.as("sk")).groupByKey(Grouped.<String,String>as("grp").withKeySerde(S).withValueSerde(S)).count(Named.as("cnt"),Materialized.as("cs")).filter((k,v)->v>1,Named.as("tf"),Materialized.<String,Long,org.apache.kafka.streams.state.KeyValueStore<org.apache.kafka.common.utils.Bytes,byte[]>>as("fs").withKeySerde(S).withValueSerde(Serdes.Long())).mapValues(v->""+v,Named.as("tm"),Materialized.<String,String,org.apache.kafka.streams.state.KeyValueStore<org.apache.kafka.common.utils.Bytes,byte[]>>as("ms").withValueSerde(S)).toStream(Named.as("ts")).to("out",Produced.<String,String>as("sinkk").withKeySerde(S).withValueSerde(S)); break;
  case "namedjoin": a.leftJoin(b.stream("b",Consumed.with(S,S).withName("bsrc")),(x,y)->x+y,JoinWindows.ofTimeDifferenceWithNoGrace(D5),StreamJoined.with(S,S,S).withName("jn").withStoreName("jst")).to("out"); break;
  case "wrepart": a.groupBy((k,v)->v.substring(0,1),Grouped.with(S,S)).windowedBy(TimeWindows.ofSizeWithNoGrace(D10)).reduce((x,y)->x+y,Materialized.with(S,S)).suppress(Suppressed.untilWindowCloses(Suppressed.BufferConfig.unbounded()).withName("sup")).filter((k,v)->v.length()>2).toStream((k,v)->w(k)).to("out",Produced.with(S,S)); break;
  case "slidingclose": a.groupByKey().windowedBy(SlidingWindows.ofTimeDifferenceAndGrace(D5,D5)).emitStrategy(EmitStrategy.onWindowClose()).reduce((x,y)->x+y).toStream((k,v)->w(k)).to("out",Produced.with(S,S)); break;
  case "hopclose": a.groupByKey().windowedBy(TimeWindows.ofSizeAndGrace(D10,D5).advanceBy(Duration.ofMillis(4))).emitStrategy(EmitStrategy.onWindowClose()).reduce((x,y)->x+y).toStream((k,v)->w(k)).to("out",Produced.with(S,S)); break;
  case "cowin": a.groupByKey().<String>cogroup((k,v,g)->g+v).cogroup(b.stream("b",Consumed.with(S,S)).groupByKey(),(k,v,g)->g+v.toUpperCase()).windowedBy(TimeWindows.ofSizeAndGrace(D10,D5)).aggregate(()->"",Materialized.with(S,S)).toStream((k,v)->w(k)).to("out",Produced.with(S,S)); break;
  case "coses": a.groupByKey().<String>cogroup((k,v,g)->g+v).windowedBy(SessionWindows.ofInactivityGapAndGrace(D5,D5)).aggregate(()->"",(k,x,y)->x+y,Named.as("cg"),Materialized.with(S,S)).toStream((k,v)->w(k)).to("out",Produced.with(S,S)); break;
  case "three": b.table("t",Consumed.with(S,S)).join(b.table("u",Consumed.with(S,S)),(x,y)->x+y).outerJoin(a.toTable(),(x,y)->x+"/"+y).groupBy((k,v)->KeyValue.pair(v.substring(0,1),v),Grouped.with(S,S)).count().toStream().mapValues(v->""+v).to("out"); break;
  case "ttname": b.table("t",Consumed.with(S,S).withName("tt"),Materialized.as("tst")).leftJoin(b.table("u",Consumed.with(S,S)),(x,y)->x+y,Named.as("nj")).mapValues(v->v+"!").filter((k,v)->v.length()>3).join(a.groupByKey().reduce((x,y)->x+y),(x,y)->x+y).toStream().to("out"); break;
  case "suppjoin": a.groupByKey().count().suppress(Suppressed.untilTimeLimit(D10,Suppressed.BufferConfig.maxBytes(200).emitEarlyWhenFull())).join(b.table("t",Consumed.with(S,S)),(x,y)->x+y).toStream().to("out"); break;
  case "ttrans": b.table("t",Consumed.with(S,S)).transformValues(()->new ValueTransformerWithKey<String,String,String>(){ public void init(org.apache.kafka.streams.processor.ProcessorContext c){} public String transform(String k,String v){ return k+"<"+v+">"; } public void close(){} }).filter((k,v)->!v.contains("q")).toStream().to("out"); break;
  case "flat": a.flatMap((k,v)->{ List<KeyValue<String,String>> l=new ArrayList<>(); for(char c: v.toCharArray()) l.add(KeyValue.pair(""+c,k)); return l;}).flatMapValues(v->List.of(v,v+v)).peek((k,v)->{}).groupByKey(Grouped.with(S,S)).aggregate(()->"",(k,v,g)->g+v,Materialized.<String,String,org.apache.kafka.streams.state.KeyValueStore<org.apache.kafka.common.utils.Bytes,byte[]>>as("agg").withValueSerde(S)).toStream().to("out"); break;
  case "outofrange": a.join(b.stream("b",Consumed.with(S,S)),(x,y)->x+y,JoinWindows.ofTimeDifferenceAndGrace(D5,Duration.ofMillis(0)).before(Duration.ofMillis(-2)),StreamJoined.with(S,S,S)).to("out"); break;
  case "multi": { b.stream(List.of("b","u"),Consumed.with(S,S)).merge(a).groupByKey().windowedBy(UnlimitedWindows.of().startOn(Instant.ofEpochMilli(20))).count().toStream((k,v)->k.key()+k.window().start()).mapValues(v->""+v).to("out",Produced.with(S,S)); break; }
  case "fk": b.table("t",Consumed.with(S,S)).join(b.table("u",Consumed.with(S,S)),v->v.equals("z")?null:v.substring(0,1),(x,y)->x+y).toStream().to("out"); break;
  case "fkleft": b.table("t",Consumed.with(S,S)).leftJoin(b.table("u",Consumed.with(S,S)),v->v.equals("z")?null:v.substring(0,1),(x,y)->x+y,Materialized.<String,String,org.apache.kafka.streams.state.KeyValueStore<org.apache.kafka.common.utils.Bytes,byte[]>>as("fkk").withKeySerde(S).withValueSerde(S)).toStream().to("out"); break;
  default: throw new RuntimeException(n);
  }
  if(!List.of("suppresstime","ttjoin","ttleft","ttouter","tagg","tcount","tred","fk","fkleft","ttrans").contains(n)) return; a.foreach((k,v)->{}); }
 public static void main(String[] z) throws Exception{
  List<String> lines=Files.readAllLines(Path.of(System.getProperty("input")));
  for(String n: z){ StreamsBuilder b=new StreamsBuilder(); build(n,b); Topology t=b.build(); System.out.println("=== "+n); System.out.print(t.describe());
   Properties p=new Properties(); p.put("application.id","test"); p.put("bootstrap.servers","x:1"); p.put("default.key.serde",Serdes.StringSerde.class); p.put("default.value.serde",Serdes.StringSerde.class); p.put("statestore.cache.max.bytes","0"); p.put("state.dir","/tmp/golden-streams-state");
   try(TopologyTestDriver d=new TopologyTestDriver(t,p,Instant.ofEpochMilli(0))){
    Map<String,TestInputTopic<String,String>> in=new HashMap<>(); for(String x: List.of("a","b","t","u")) in.put(x,d.createInputTopic(x,S.serializer(),S.serializer()));
    TestOutputTopic<String,String> o=d.createOutputTopic("out",S.deserializer(),S.deserializer());
    for(String l: lines){ String[] f=l.split(","); if(f[0].equals("clock")){ d.advanceWallClockTime(Duration.ofMillis(Long.parseLong(f[1]))); continue; }
      try{ in.get(f[0]).pipeInput(f[1].equals("null")?null:f[1], f[2].equals("null")?null:f[2], Long.parseLong(f[3])); }catch(IllegalArgumentException e){ if(!(""+e.getMessage()).contains("Unknown topic")) throw e; }
      for(TestRecord<String,String> r: o.readRecordsToList()) System.out.println(l+" -> "+r.key()+","+r.value()+","+r.timestamp()); }
    for(String tp: new TreeSet<>(d.producedTopicNames())){ if(tp.equals("out")) continue; TestOutputTopic<byte[],byte[]> q=d.createOutputTopic(tp,new ByteArrayDeserializer(),new ByteArrayDeserializer()); System.out.println("TOPIC "+tp); for(TestRecord<byte[],byte[]> r: q.readRecordsToList()) System.out.println(hx(r.key())+" "+hx(r.value())+" "+(tp.contains("SUPPRESS")?"":r.timestamp())); }
 double dr=0; for(Map.Entry<org.apache.kafka.common.MetricName,? extends org.apache.kafka.common.Metric> m: d.metrics().entrySet()) if(m.getKey().name().equals("dropped-records-total")) dr+=(Double)m.getValue().metricValue(); System.out.println("dropped "+dr);
   } } } }
