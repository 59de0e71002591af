import { describe, expect, it } from 'vitest'
import type { NatsMessage } from '../../../brokers/nats/index.ts'
import { NatsMessageSenderCache } from '../../../brokers/nats/message-sender-cache.ts'
import { DecodedSubjectCache, SubjectWithSenderQueue } from '../../../brokers/nats/subject-cache.ts'
import { MAX_SIZES } from '../../../src/core/max-sizes.ts'
import { Guard } from '../../../src/guard/guard.ts'
import { createSender, limit } from '../../../src/index.ts'
import { natsGate } from './scene.ts'

/** A message as the clients make it: bytes that are part of a socket chunk, and a text made of them when asked for. */
class ClientMessage {
  _subject: string | undefined
  readonly _msg: { readonly subject: Uint8Array }
  readonly data = new Uint8Array(0)
  readonly sid = 1
  decoded = 0

  constructor(subject: string) {
    const chunk = Buffer.from(`MSG ${subject} 1 0\r\n\r\n`)
    this._msg = { subject: chunk.subarray(4, 4 + Buffer.byteLength(subject)) }
  }

  get subject(): string {
    if (this._subject === undefined) {
      this._subject = Buffer.from(this._msg.subject).toString()
      this.decoded++
    }
    return this._subject
  }
}

const make = (topic: string): SubjectWithSenderQueue => new SubjectWithSenderQueue(topic, createSender({}))
const take = (subjects: DecodedSubjectCache, message: ClientMessage): SubjectWithSenderQueue =>
  subjects.subjectOf(message as unknown as NatsMessage)

describe('subjects that come again', () => {
  it('are decoded once, and are one object', () => {
    const subjects = new DecodedSubjectCache(make, () => {})
    const first = new ClientMessage('fleet.a.b')
    const known = take(subjects, first)
    expect([known.topic, first.decoded]).toEqual(['fleet.a.b', 1])
    for (let count = 0; count < 100; count++) {
      const message = new ClientMessage('fleet.a.b')
      expect(take(subjects, message)).toBe(known)
      expect([message.subject, message.decoded]).toEqual(['fleet.a.b', 0])
    }
  })

  it.each([1, 3, 4, 5, 7, 8, 123, 124, 125, 1_000])('are told apart by each byte of %i', length => {
    const subjects = new DecodedSubjectCache(make, () => {})
    const texts = Array.from(
      { length },
      (_, index) => `${'a'.repeat(index)}b${'a'.repeat(length - index - 1)}`,
    )
    for (const text of [...texts, ...texts]) expect(take(subjects, new ClientMessage(text)).topic).toBe(text)
  })

  it('are told apart by the text somebody else has made already, which is kept', () => {
    const subjects = new DecodedSubjectCache(make, () => {})
    const texts = Array.from({ length: 1_000 }, (_, index) => `fleet.device-${index}.telemetry`)
    const known = texts.map(text => take(subjects, new ClientMessage(text)))
    for (const text of [...texts, ...texts]) {
      const message = new ClientMessage(text)
      const read = message.subject
      const subject = take(subjects, message)
      expect([subject.topic, message.decoded]).toEqual([read, 1])
    }
    const again = texts.map(text => take(subjects, new ClientMessage(text)))
    expect(again.filter((subject, index) => subject === known[index]).length).toBeGreaterThan(800)
  })

  it('of other letters, or cut in the middle of one, are read as the client reads them', () => {
    const subjects = new DecodedSubjectCache(make, () => {})
    for (const text of ['größe.µ', '訂單.新', '😀.😀', '__proto__', 'constructor']) {
      const known = take(subjects, new ClientMessage(text))
      expect(known.topic).toBe(text)
      expect(take(subjects, new ClientMessage(text)).topic).toBe(text)
    }
  })

  it('take the place of others at the most, which are told of', () => {
    let forgotten = 0
    const subjects = new DecodedSubjectCache(make, () => {
      forgotten++
    })
    const count = MAX_SIZES.cachedSubjects * 4
    for (let index = 0; index < count; index++) take(subjects, new ClientMessage(`invented.${index}`))
    expect(forgotten).toBeGreaterThanOrEqual(count - MAX_SIZES.cachedSubjects)
    expect(forgotten).toBeLessThan(count)
  })

  it('that are longer than the bound are not kept', () => {
    const subjects = new DecodedSubjectCache(make, () => {})
    const [long, longer] = [MAX_SIZES.cachedSubjectBytes, MAX_SIZES.cachedSubjectBytes + 1].map(length =>
      'a'.repeat(length),
    )
    expect(take(subjects, new ClientMessage(long!))).toBe(take(subjects, new ClientMessage(long!)))
    expect(take(subjects, new ClientMessage(longer!))).not.toBe(take(subjects, new ClientMessage(longer!)))
  })

  it('of a client that keeps its bytes elsewhere go by their text', () => {
    const subjects = new DecodedSubjectCache(make, () => {})
    for (const _msg of [undefined, {}, { subject: 'a.b' }]) {
      const message = { subject: 'a.b', data: new Uint8Array(0), sid: 1, _msg }
      expect(subjects.subjectOf(message).topic).toBe('a.b')
    }
  })

  it('of a frozen message are known all the same', () => {
    const subjects = new DecodedSubjectCache(make, () => {})
    const known = take(subjects, new ClientMessage('a.frozen'))
    expect(take(subjects, Object.freeze(new ClientMessage('a.frozen')))).toBe(known)
  })

  it('keep what waits in its order when others take their place and they are forgotten everywhere', () => {
    const senders = new NatsMessageSenderCache(undefined, () => {})
    const placeOf = (subject: string) => {
      const message = new ClientMessage(subject) as unknown as NatsMessage
      return senders.senderOf(message, senders.subjects.subjectOf(message))
    }
    const place = placeOf('busy')
    // Known by its bytes all the while, it is not seen in the rows behind, and grows old there.
    for (let index = 0; index < MAX_SIZES.cachedSenders * 2; index++) {
      const message = { subject: `x.${index}`, data: new Uint8Array(0), sid: 1 }
      senders.senderOf(message, senders.subjects.subjectOf(message))
    }
    expect(placeOf('busy')).toBe(place)
    const guard = new Guard(natsGate(limit({ name: 'a', rate: '1/min', exceeded: 'throttle' })))
    const waiting = { topic: 'busy', on: 'publish', sender: place.sender, size: 1 } as const
    for (let count = 0; count < 2; count++) place.senderQueueOf(guard).admit(waiting, () => {})
    expect(place.held).toBe(1)
    for (let index = 0; index < MAX_SIZES.cachedSubjects * 2; index++) placeOf(`invented.${index}`)
    expect(placeOf('busy')).toBe(place)
    guard.close()
  })
})
