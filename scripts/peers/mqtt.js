// limitConsumer and limitPublishes on MQTT.js clients of a real broker, on MQTT 3.1.1 and 5, at each QoS.
import { connectAsync } from 'mqtt'
import { Gate, limit } from 'topicgate'
import { limitConsumer, limitPublishes } from 'topicgate/mqtt'
import { expectEqual, until } from './checks.js'

for (const protocolVersion of [4, 5]) {
  for (const qos of [0, 1, 2]) {
    const title = `MQTT ${protocolVersion}, QoS ${qos}`
    const client = await connectAsync(process.env.MQTT_URL, { protocolVersion })
    const sender = await connectAsync(process.env.MQTT_URL, { protocolVersion })
    const gate = new Gate()
    gate.use('drop/#', limit({ name: 'd', limit: '2/day', exceeded: 'drop' }))
    gate.use('queue/#', limit({ name: 'q', rate: '1 per 20ms', exceeded: 'queue' }))
    gate.use('hold/#', limit({ name: 'h', rate: '1 per 20ms', exceeded: 'throttle' }))
    const handled = []
    const limits = limitConsumer(client, gate, {
      handler: (topic, payload) => void handled.push(`${topic} ${payload}`),
    })
    const topics = ['drop', 'queue', 'hold'].map(name => `${name}/${protocolVersion}/${qos}`)
    await client.subscribeAsync(topics, { qos })
    const publisher = limitPublishes(sender, { rate: 'unlimited' })
    for (const topic of topics) {
      for (const text of ['1', '2', '3', '4']) await publisher.publish(topic, text, { qos })
    }
    await until(title, () => handled.length === 10 && limits.stats().received === 12)
    for (const [index, expected] of ['1,2', '1,2,3,4', '1,2,3,4'].entries()) {
      const texts = handled.filter(line => line.startsWith(topics[index])).map(line => line.split(' ')[1])
      expectEqual(`${title}, ${topics[index]}`, texts.join(), expected)
    }
    await limits.drain()
    publisher.close()
    await client.endAsync(true)
    await sender.endAsync(true)
    await gate.close()
  }
}
