// An aedes broker without any limits, in a process of its own: a flood can end the process.
import { createServer } from 'node:net'
import { Aedes } from 'aedes'

const broker = await Aedes.createBroker()
const server = createServer({ noDelay: true }, socket => broker.handle(socket))
server.listen(0, '127.0.0.1', () => process.send?.({ port: server.address().port }))
