import type { Duplex } from 'node:stream'
import type { Clock } from '../../src/clock.ts'

/** Bytes read at a time from a sender that was held back a moment ago; doubles while it behaves. */
const FIRST_BITE_BYTES = 8_192
const LARGEST_BITE_BYTES = 65_536

/** Bytes that all paused connections together are read after their pauses: many share them, a single one reads on. */
const CROWD_BYTES = 262_144

/** The pauses of many begin together; shortened by up to a third, each differently, they do not end together. */
const SHORTEST_PAUSE = 2 / 3
const GOLDEN_RATIO = 0.618_033_988_749

/** The smallest PUBLISH: two bytes of fixed header, two of topic length, a topic of one. */
const SMALLEST_PUBLISH_BYTES = 5

/** What the read gates of one broker know of each other. */
export interface Crowd {
  /** Connections paused now, and pauses ever begun. */
  paused: number
  pauses: number
}

/** What a read gate needs to know of its connection. */
export interface GateKeeping {
  readonly clock: Clock
  readonly crowd: Crowd
  /** 0 where the client asked for no keepalive. */
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
  /** Looks at what was read before aedes does, and answers what aedes is to see of it. */
  sift(chunk: Buffer): Buffer | null
  /** aedes' parser is in the midst of its work, and must not be entered again. */
  parsing(): boolean
}

/**
 * Stops and starts the reading of one connection, so that TCP slows its sender down. aedes reads in one place,
 * `conn.read(null)`: while shut an own `read` of the connection answers null. What was read already still comes.
 *
 * While shut, a sip is taken twice a keepalive, no larger than what can be held: a PINGREQ may stand behind the
 * messages. After a hold the connection is read in bites, one a turn of the event loop, so that what one chunk brings
 * stays within what can be held. A connection that was never held back nor refused is left alone.
 */
export class ReadGate {
  readonly #conn: Duplex
  readonly #keeping: GateKeeping
  #read: Duplex['read'] | undefined
  #ownRead = false
  #holding = false
  #endPause: (() => void) | undefined
  #endSips: (() => void) | undefined
  #sipBytes = 0
  /** Infinite while all is read at once. */
  #biteBytes = Number.POSITIVE_INFINITY
  #biting = false
  #sifting = false
  #kicking = false
  #toPass = 0
  #disposed = false

  constructor(conn: Duplex, keeping: GateKeeping) {
    this.#conn = conn
    this.#keeping = keeping
  }

  get shut(): boolean {
    return this.#holding || this.#endPause !== undefined
  }

  /** Shut until `release`. */
  hold(): void {
    this.#holding = true
    this.#biteBytes = FIRST_BITE_BYTES
    this.#close()
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

  /** Shut for a while: up to `ms`, at most half a keepalive. A pause that runs is not made longer. */
  pause(ms: number): void {
    if (this.#endPause !== undefined || this.#disposed || ms <= 0) return
    const { clock, crowd } = this.#keeping
    const mostMs = Math.min(ms, this.#keeping.keepaliveMs() / 2 || ms)
    const share = (++crowd.pauses * GOLDEN_RATIO) % 1
    const cancel = clock.after(Math.ceil(mostMs * (SHORTEST_PAUSE + (1 - SHORTEST_PAUSE) * share)), () => {
      this.#stopPause()
      this.#reopen()
    })
    this.#endPause = cancel
    crowd.paused++
    const fairBytes = Math.floor(CROWD_BYTES / crowd.paused)
    this.#biteBytes = Math.max(FIRST_BITE_BYTES, Math.min(LARGEST_BITE_BYTES, fairBytes))
    this.#close()
  }

  #stopPause(): void {
    if (this.#endPause === undefined) return
    this.#endPause()
    this.#endPause = undefined
    this.#keeping.crowd.paused--
  }

  /** From now on `sift` sees what is read. */
  startSifting(): void {
    if (this.#disposed) return
    this.#sifting = true
    this.#install()
  }

  /** Ends all that runs and gives the connection its own `read` back. */
  dispose(): void {
    this.#disposed = true
    this.#holding = false
    this.#stopPause()
    this.#stopSips()
    this.#uninstall()
  }

  /** Reads on without any gate; for a limiter that is taken off. */
  detach(): void {
    const wasShut = this.shut || this.#biting
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
      this.#sipBytes = 0
      return read.call(this.#conn, bytes)
    }
    if (this.#biting) return null
    if (waiting <= this.#biteBytes) return this.#sifted(read.call(this.#conn, size))
    this.#biting = true
    setImmediate(() => this.#endBite())
    return this.#sifted(read.call(this.#conn, this.#biteBytes))
  }

  #sifted(chunk: unknown): unknown {
    return this.#sifting && chunk instanceof Buffer ? this.#keeping.sift(chunk) : chunk
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
    this.#endSips = this.#keeping.clock.after(keepaliveMs / 2, () => {
      this.#endSips = undefined
      if (!this.shut || this.#disposed || this.#conn.destroyed) return
      this.#sip()
      if (this.shut) this.#scheduleSip()
    })
  }

  #stopSips(): void {
    this.#endSips?.()
    this.#endSips = undefined
  }

  #sip(): void {
    const waiting = this.#conn.readableLength
    if (waiting > 0 || this.#holding) this.#keeping.onAlive()
    if (waiting === 0) return
    this.#sipBytes = Math.min(LARGEST_BITE_BYTES, this.#keeping.roomFor() * SMALLEST_PUBLISH_BYTES)
    // aedes passes over one `readable` for each packet under way before it reads again.
    for (let left = this.#keeping.held() + 64; this.#sipBytes > 0 && left > 0; left--)
      this.#conn.emit('readable')
    this.#sipBytes = 0
  }
}
