import type { Duplex } from 'node:stream'
import type { Clock } from '../../src/core/clock.ts'
import type { ReadScheduler } from './read-scheduler.ts'

/** Bytes read at a time from a sender that was held back a moment ago; doubles while it behaves. */
const FIRST_BITE_BYTES = 8_192
const LARGEST_BITE_BYTES = 65_536

/** Bytes read in one turn of a sender that is being refused. */
const TURN_BYTES = 8_192

/** The pauses of many begin together; shortened by up to a third, each differently, they do not end together. */
const SHORTEST_PAUSE = 2 / 3
const GOLDEN_RATIO = 0.618_033_988_749

/** Some clients (MQTT.js) give up half a keepalive after their PINGREQ: a sip comes before that. */
const SIPS_PER_KEEPALIVE = 3

/** The smallest PUBLISH: two bytes of fixed header, two of topic length, a topic of one. */
const SMALLEST_PUBLISH_BYTES = 5

/** State that the read gates of one broker share. */
export interface Crowd {
  /** Pauses ever begun. */
  pauses: number
  readonly scheduler: ReadScheduler
}

/** What a read gate needs to know of its connection. */
export interface ReadThrottleHost {
  readonly clock: Clock
  readonly crowd: Crowd
  /** 0 if the client asked for no keepalive. */
  keepaliveMs(): number
  /** Messages that may still be held. */
  roomFor(): number
  /** Messages held now: each takes one `readable` to be passed over. */
  held(): number
  /**
   * The client counts as alive: bytes of it wait unread because of us, or it waits for acknowledgements we hold, on
   * which some (MQTT.js) put off their PINGREQ.
   */
  onAlive(): void
  /** Looks at what was read before aedes does, and returns what aedes is to see of it. */
  filterChunk(chunk: Buffer): Buffer | null
  /** aedes' parser is in the midst of its work, and must not be entered again. */
  parsing(): boolean
}

/**
 * Stops and starts the reading of one connection, so that TCP slows its sender down. aedes reads in one place,
 * `conn.read(null)`: while shut, an own `read` of the connection returns null. What was read already still comes.
 *
 * `hold` is for messages that wait: nothing is read until `release`, except a sip three times a keepalive, no larger
 * than what can be held, as a PINGREQ may stand behind the messages. A stream may buffer less than a sip (that of a
 * WebSocket 16 KiB): the rest is read as it arrives. Afterwards the connection is read in bites, one a turn
 * of the event loop, so that what one chunk brings stays within what can be held. Once the client has closed its side,
 * the rest of its bytes is read at once, so that aedes learns of it.
 *
 * `pause` is for messages that are refused. What has arrived meanwhile is then read to its end, in turns with the other
 * connections that are being refused, before the next pause begins: what passes is never older than a pause, and
 * nothing piles up in the process or its sockets.
 *
 * A connection that was never held back nor refused is left alone.
 */
export class ReadThrottle {
  readonly #conn: Duplex
  readonly #keeping: ReadThrottleHost
  readonly #readTurn = (): boolean => this.#takeTurn()
  #read: Duplex['read'] | undefined
  #ownRead = false
  #holding = false
  #endPause: (() => void) | undefined
  #endSips: (() => void) | undefined
  /** What is left of the last sip. */
  #sipBytes = 0
  #sipping = false
  /** Infinite while all is read at once. */
  #biteBytes = Number.POSITIVE_INFINITY
  #biting = false
  /** Read in turns, from the end of a pause until all that has arrived is read. */
  #catchingUp = false
  #hasTurn = false
  #checking = false
  /** The pause that begins when all has been read; 0 for none. */
  #nextPauseMs = 0
  #sifting = false
  #kicking = false
  #finishing = false
  #toPass = 0
  #disposed = false

  constructor(conn: Duplex, keeping: ReadThrottleHost) {
    this.#conn = conn
    this.#keeping = keeping
  }

  get shut(): boolean {
    return (this.#holding || this.#endPause !== undefined) && !this.#hasEnded()
  }

  /** Shut until `release`. */
  hold(): void {
    this.#holding = true
    this.#biteBytes = FIRST_BITE_BYTES
    this.#close()
    if (this.#hasEnded()) this.#finishSoon()
  }

  release(): void {
    this.#holding = false
    this.#keeping.onAlive()
    this.#reopen()
  }

  /**
   * A packet under way will take long, and is not to keep those behind it from being read: aedes reads once it has
   * passed over one `readable` for each.
   */
  passOver(): void {
    this.#toPass++
    this.#kickSoon()
  }

  /** Shut for a while, once all that has arrived is read: up to `ms`, at most half a keepalive. */
  pause(ms: number): void {
    if (this.#endPause !== undefined || this.#disposed || ms <= 0) return
    if (this.#catchingUp) {
      this.#nextPauseMs = ms
      return
    }
    const { clock, crowd } = this.#keeping
    const mostMs = Math.min(ms, this.#keeping.keepaliveMs() / 2 || ms)
    const share = (++crowd.pauses * GOLDEN_RATIO) % 1
    const cancel = clock.after(Math.ceil(mostMs * (SHORTEST_PAUSE + (1 - SHORTEST_PAUSE) * share)), () => {
      this.#endPause = undefined
      this.#catchingUp = true
      this.#reopen()
    })
    this.#endPause = cancel
    this.#close()
  }

  /** From now on `sift` sees what is read. */
  startSifting(): void {
    if (this.#disposed) return
    this.#sifting = true
    this.#install()
  }

  /** Call at each `readable` of the connection: its end may be what has become readable. */
  onReadable(): void {
    if ((this.#holding || this.#endPause !== undefined) && this.#hasEnded()) this.#finishSoon()
    if (this.#sipBytes > 0) this.#sipOnSoon()
  }

  /** Ends all that runs and gives the connection its own `read` back. */
  dispose(): void {
    this.#disposed = true
    this.#holding = false
    this.#endPause?.()
    this.#endPause = undefined
    this.#keeping.crowd.scheduler.remove(this.#readTurn)
    this.#stopSips()
    this.#uninstall()
  }

  /** Reads on without any gate; for a limiter that is taken off. */
  detach(): void {
    const wasShut = this.shut || this.#biting || this.#catchingUp
    this.dispose()
    if (wasShut) setImmediate(() => this.#conn.emit('readable'))
  }

  #close(): void {
    if (this.#disposed) return
    this.#install()
    if (this.#endSips === undefined) this.#scheduleSip()
  }

  #reopen(): void {
    if (this.shut || this.#disposed) return
    this.#stopSips()
    this.#kickSoon()
  }

  /** Later, not now: reading parses, and the parser must not be entered while it runs. */
  #kickSoon(): void {
    if (this.#kicking) return
    this.#kicking = true
    setImmediate(() => {
      this.#kicking = false
      for (let times = Math.max(1, this.#toPass); times > 0; times--) {
        if (this.shut || this.#disposed || this.#conn.destroyed) return
        if (this.#toPass > 0) this.#toPass--
        this.#conn.emit('readable')
      }
    })
  }

  #install(): void {
    if (this.#read !== undefined) return
    this.#read = this.#conn.read
    this.#ownRead = Object.hasOwn(this.#conn, 'read')
    this.#conn.read = size => this.#readSome(size)
  }

  #uninstall(): void {
    if (this.#read === undefined) return
    if (this.#ownRead) this.#conn.read = this.#read
    else delete (this.#conn as { read?: unknown }).read
    this.#read = undefined
  }

  #readSome(size: number | undefined): unknown {
    const read = this.#read!
    // A stream's own question whether there is more to fetch; its answer is no data.
    if (size === 0) return read.call(this.#conn, 0)
    const waiting = this.#conn.readableLength
    // A discarded packet is done at once, and aedes then reads on within its own parser, which would tell it twice.
    if (this.#sifting && waiting > 0 && this.#keeping.parsing()) {
      this.#kickSoon()
      return null
    }
    if (this.shut) {
      if (this.#sipBytes === 0 || waiting === 0) return null
      const bytes = Math.min(this.#sipBytes, waiting)
      this.#sipBytes -= bytes
      return read.call(this.#conn, bytes)
    }
    if (this.#finishing) return this.#chunkFiltered(read.call(this.#conn, size))
    if (this.#catchingUp) return this.#readInTurn(size, waiting)
    if (this.#biting) return null
    if (waiting <= this.#biteBytes) return this.#chunkFiltered(read.call(this.#conn, size))
    this.#biting = true
    setImmediate(() => this.#endBite())
    return this.#chunkFiltered(read.call(this.#conn, this.#biteBytes))
  }

  #readInTurn(size: number | undefined, waiting: number): unknown {
    if (waiting === 0) {
      this.#checkForMore()
      return this.#read!.call(this.#conn, size)
    }
    if (!this.#hasTurn) {
      this.#keeping.crowd.scheduler.enqueue(this.#readTurn)
      return null
    }
    this.#hasTurn = false
    if (waiting > TURN_BYTES) return this.#chunkFiltered(this.#read!.call(this.#conn, TURN_BYTES))
    this.#checkForMore()
    return this.#chunkFiltered(this.#read!.call(this.#conn, size))
  }

  #takeTurn(): boolean {
    if (this.shut || this.#disposed || this.#conn.destroyed || !this.#catchingUp) return false
    this.#hasTurn = true
    this.#conn.emit('readable')
    // Still there if aedes has passed over it for a packet under way: it reads when that is done.
    const hasRead = !this.#hasTurn
    this.#hasTurn = false
    return hasRead && !this.#conn.destroyed && this.#conn.readableLength > 0
  }

  /** All that the process has received is read; two turns of the event loop show whether the socket holds more. */
  #checkForMore(): void {
    if (this.#checking) return
    this.#checking = true
    setImmediate(() =>
      setImmediate(() => {
        this.#checking = false
        if (this.#disposed || !this.#catchingUp || this.#conn.readableLength > 0) return
        this.#catchingUp = false
        const pauseMs = this.#nextPauseMs
        this.#nextPauseMs = 0
        if (pauseMs > 0) this.pause(pauseMs)
        else if (!this.#sifting && !this.#holding) this.#uninstall()
      }),
    )
  }

  #chunkFiltered(chunk: unknown): unknown {
    return this.#sifting && chunk instanceof Buffer ? this.#keeping.filterChunk(chunk) : chunk
  }

  #endBite(): void {
    this.#biting = false
    if (this.shut || this.#disposed || this.#conn.destroyed) return
    this.#biteBytes *= 2
    if (this.#biteBytes > LARGEST_BITE_BYTES) {
      this.#biteBytes = Number.POSITIVE_INFINITY
      if (!this.#sifting) this.#uninstall()
    }
    this.#conn.emit('readable')
  }

  #scheduleSip(): void {
    const keepaliveMs = this.#keeping.keepaliveMs()
    if (keepaliveMs === 0) return
    this.#endSips = this.#keeping.clock.after(keepaliveMs / SIPS_PER_KEEPALIVE, () => {
      this.#endSips = undefined
      if (!this.shut || this.#disposed || this.#conn.destroyed) return
      this.#sip()
      if (this.shut) this.#scheduleSip()
    })
  }

  #stopSips(): void {
    this.#endSips?.()
    this.#endSips = undefined
    this.#sipBytes = 0
  }

  #sip(): void {
    if (this.#conn.readableLength > 0 || this.#holding) this.#keeping.onAlive()
    this.#sipBytes = Math.max(
      0,
      Math.min(LARGEST_BITE_BYTES, this.#keeping.roomFor() * SMALLEST_PUBLISH_BYTES),
    )
    this.#sipOn()
  }

  #sipOn(): void {
    const mayRead = (): boolean =>
      this.shut &&
      !this.#disposed &&
      !this.#conn.destroyed &&
      this.#sipBytes > 0 &&
      this.#conn.readableLength > 0
    this.#sipping = true
    this.#emitReadable(mayRead)
    this.#sipping = false
  }

  #sipOnSoon(): void {
    if (this.#sipping) return
    this.#sipping = true
    setImmediate(() => this.#sipOn())
  }

  /** aedes passes over one `readable` for each packet under way before it reads again. */
  #emitReadable(isWanted: () => boolean): void {
    for (let left = this.#keeping.held() + 64; left > 0 && isWanted(); left--) this.#conn.emit('readable')
  }

  /** The stream has received the end of the client's bytes, which nobody reads while it is held. */
  #hasEnded(): boolean {
    return (this.#conn as { _readableState?: { ended?: boolean } })._readableState?.ended === true
  }

  #finishSoon(): void {
    if (this.#finishing) return
    this.#finishing = true
    setImmediate(() => {
      if (this.#disposed) return
      this.#emitReadable(() => !this.#disposed && !this.#conn.destroyed && !this.#conn.readableEnded)
    })
  }
}
