// Sends one command, and sends it again with the same command_id until its verdict arrives. Needs kafkajs.
//   KAFKA_BOOTSTRAP=localhost:9092 node producer.mjs [--prefix moderation] [--course 1001]
import { randomUUID } from 'node:crypto'
import { parseArgs } from 'node:util'

const ATTEMPTS = 4
const MILLISECONDS_PER_ATTEMPT = 10_000
const EXIT_FINDING = 1
const EXIT_USAGE = 2
const EXIT_KAFKA = 3

const { values: options } = parseArgs({
  options: {
    prefix: { type: 'string', default: 'moderation' },
    course: { type: 'string', default: String(Date.now()) },
    help: { type: 'boolean', short: 'h' },
  },
})
if (options.help || !process.env.KAFKA_BOOTSTRAP) {
  console.log('KAFKA_BOOTSTRAP=HOST:PORT node producer.mjs [--prefix moderation] [--course 1001]')
  process.exit(options.help ? 0 : EXIT_USAGE)
}

const { Kafka, Partitioners, logLevel } = await import('kafkajs').catch(() => {
  console.error('producer.mjs: kafkajs is not installed; nothing was sent: run npm ci in its folder')
  process.exit(EXIT_FINDING)
})
// Quiet until it reads: the program itself reports, once, that no broker answers or a topic is missing.
const kafka = new Kafka({ brokers: process.env.KAFKA_BOOTSTRAP.split(','), logLevel: logLevel.NOTHING })
// murmur2, like the Java client: it keeps all commands of a course in one partition, in order.
const producer = kafka.producer({ idempotent: true, createPartitioner: Partitioners.DefaultPartitioner })
// kafkajs reads only committed records by default. A unique group reads every verdict.
const group = `verdicts-${randomUUID()}`
const consumer = kafka.consumer({ groupId: group })
const waiting = new Map()

function exit(code, message) {
  console.error(`producer.mjs: ${message}`)
  process.exit(code)
}

function isUnknownTopic(error) {
  return [error.type, error.cause?.type].includes('UNKNOWN_TOPIC_OR_PARTITION')
}

async function connect() {
  try {
    await producer.connect()
    await consumer.connect()
  } catch (error) {
    exit(
      EXIT_KAFKA,
      `nothing was sent: no Kafka broker answers at KAFKA_BOOTSTRAP=${process.env.KAFKA_BOOTSTRAP}`
        + ` (${(error.cause ?? error).message}). Check the address, that Kafka is running and that this machine may`
        + ' connect to it. Development stack: run deploy/stack up, then eval "$(deploy/stack env)" and export KAFKA_BOOTSTRAP',
    )
  }
}

async function readVerdicts() {
  const topic = `${options.prefix}.verdicts`
  try {
    await consumer.subscribe({ topic, fromBeginning: false })
  } catch (error) {
    if (isUnknownTopic(error)) exit(EXIT_FINDING, `there is no topic ${topic}; nothing was sent. Check the prefix`)
    exit(EXIT_KAFKA, `nothing was sent: Kafka refuses the topic ${topic}: ${error.message}`)
  }
  const joined = new Promise((resolve, reject) => {
    consumer.on(consumer.events.GROUP_JOIN, resolve)
    // The client reports a refused group only by this event.
    consumer.on(consumer.events.CRASH, ({ payload }) => reject(payload.error))
  })
  await consumer.run({
    eachMessage: async ({ message }) => {
      const verdict = JSON.parse(message.value.toString())
      waiting.get(verdict.command_id)?.(verdict)
    },
  })
  await joined.catch((error) => {
    exit(EXIT_KAFKA, `nothing was sent: verdicts cannot be read in the group ${group}: ${error.message}`)
  })
  kafka.logger().setLogLevel(logLevel.ERROR)
}

async function send(command) {
  const verdict = new Promise((resolve) => waiting.set(command.command_id, resolve))
  try {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const message = { key: String(command.course_id), value: JSON.stringify(command) }
      await producer.send({ topic: `${options.prefix}.commands`, acks: -1, messages: [message] })
      let timer
      const late = new Promise((resolve) => { timer = setTimeout(resolve, MILLISECONDS_PER_ATTEMPT) })
      const found = await Promise.race([verdict, late])
      clearTimeout(timer)
      if (found) return found
    }
    throw new Error(
      `${command.type} ${command.command_id}: no verdict after ${ATTEMPTS} attempts. It may still be decided: check that`
        + ' the service runs (development stack: deploy/stack status), then send the same command again',
    )
  } finally {
    waiting.delete(command.command_id)
  }
}

await connect()
try {
  await readVerdicts()
  const verdict = await send({
    command_id: randomUUID(),
    type: 'upsert_course',
    issued_at: new Date().toISOString(),
    root_account_id: 1,
    course_id: options.course,
    data: { name: 'Modern History' },
  })
  console.log(`${verdict.type}: ${verdict.status}${verdict.reason ? `, ${verdict.reason}: ${verdict.message}` : ''}`)
  if (verdict.status === 'rejected') process.exitCode = EXIT_FINDING
} catch (error) {
  console.error(`producer.mjs: ${error.message}`)
  process.exitCode = error.name.startsWith('KafkaJS') && !isUnknownTopic(error) ? EXIT_KAFKA : EXIT_FINDING
} finally {
  await consumer.disconnect()
  await producer.disconnect()
}
