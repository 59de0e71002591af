import type { Duplex } from 'node:stream'
import type { Clock } from '../../src/core/clock.ts'
import type { FairReadScheduler } from './fair-read-scheduler.ts'

/** Bytes first read from a sender that was just held back; doubles while it stays within its limits. */
const FIRST_STEP_BYTES = 8_192
const MAX_STEP_BYTES = 65_536

/** Bytes read in one turn from a sender that is being refused. */
const TURN_BYTES = 8_192

/** Pauses of many connections begin together. Each is shortened by up to a third, so that they do not end together. */
const MIN_PAUSE_SHARE = 2 / 3
const GOLDEN_RATIO = 0.618_033_988_749

/** Some clients (MQTT.js) give up half a keepalive after their PINGREQ, so a probe read comes before that. */
const PROBES_PER_KEEPALIVE = 3

/** Smallest PUBLISH: two bytes of fixed header, two of topic length, a topic of one. */
const SMALLEST_PUBLISH_BYTES = 5

/** State shared by the read throttles of one broker. */
export interface SharedReadState {
  /** Number of pauses so far. */
  pauses: number
  readonly scheduler: FairReadScheduler
}

/** Interface of the connection to its read throttle. */
export interface ReadThrottleHost {
  readonly clock: Clock
  readonly sharedReads: SharedReadState
  /** Returns 0 if the client asked for no keepalive. */
  keepaliveMs(): number
  /** Returns how many more messages may be held. */
  heldRoom(): number
  /** Returns the number of held messages: aedes skips one `readable` for each. */
  heldCount(): number
  /**
   * Called to count the client as alive: its bytes wait unread because of us, or it waits for held acknowledgements,
   * for which some clients (MQTT.js) delay their PINGREQ.
   */
  onAlive(): void
  /** Returns the part of the bytes read that aedes is to parse. */
  filterChunk(chunk: Buffer): Buffer | null
  /** Returns true while aedes' parser runs: it must not be entered again. */
  isParsing(): boolean
}

/**
 * Stops and resumes reading one connection, so that TCP slows its sender down. aedes reads only through
 * `conn.read(null)`: while paused, a replacement of `read` returns null. Data read before still arrives.
 *
 * `hold` is for messages that wait: nothing is read until `release`, except a probe three times a keepalive, because a
 * PINGREQ may follow the messages. A probe is no larger than what can be held. A stream may buffer less than a probe (a
 * WebSocket 16 KiB): the rest is read as it arrives. After `release` the connection is read in growing steps, one per
 * turn of the event loop, so that one chunk fits into what can be held. Once the client has ended its side, the
 * remaining bytes are read at once, so that aedes sees the end.
 *
 * `pause` is for messages that are refused. Data that arrived meanwhile is read to its end, in turns with other refused
 * connections, before the next pause begins. So an allowed message is never older than a pause, and no data accumulates
 * in the process or its sockets.
 *
 * A connection that was never held back nor refused is not touched.
 */
export class ReadThrottle {
  readonly #conn: Duplex
  readonly #host: ReadThrottleHost
  readonly #readInSlice = (): boolean => this.#emitInTurn()
  #originalRead: Duplex['read'] | undefined
  #hasOwnRead = false
  #isHeld = false
  #cancelPause: (() => void) | undefined
  #cancelProbe: (() => void) | undefined
  /** Rest of the current probe. */
  #probeBytes = 0
  #isProbing = false
  /** Infinity while everything is read at once. */
  #stepBytes = Number.POSITIVE_INFINITY
  #isStepPending = false
  /** True from the end of a pause until all arrived data is read, in turns. */
  #isCatchingUp = false
  #hasTurn = false
  #isChecking = false
  /** Pause that begins when all data has been read; 0 for none. */
  #nextPauseMs = 0
  #isFiltering = false
  #isResumeScheduled = false
  #isFinishing = false
  #readablesToSkip = 0
  #isDisposed = false

  constructor(conn: Duplex, host: ReadThrottleHost) {
    this.#conn = conn
    this.#host = host
  }

  get isPaused(): boolean {
    return (this.#isHeld || this.#cancelPause !== undefined) && !this.#hasEnded()
  }

  /** Stops reading until `release`. */
  hold(): void {
    this.#isHeld = true
    this.#stepBytes = FIRST_STEP_BYTES
    this.#stopReading()
    if (this.#hasEnded()) this.#finishSoon()
  }

  release(): void {
    this.#isHeld = false
    this.#host.onAlive()
    this.#resumeReading()
  }

  /**
   * Called for a packet that will take long, so that later ones are still read: aedes reads only after it has skipped
   * one `readable` per packet.
   */
  skipPacket(): void {
    this.#readablesToSkip++
    this.#resumeSoon()
  }

  /** Stops reading for up to `ms`, at most half a keepalive, once all arrived data is read. */
  pause(ms: number): void {
    if (this.#cancelPause !== undefined || this.#isDisposed || ms <= 0) return
    if (this.#isCatchingUp) {
      this.#nextPauseMs = ms
      return
    }
    const { clock, sharedReads } = this.#host
    const maxMs = Math.min(ms, this.#host.keepaliveMs() / 2 || ms)
    const share = (++sharedReads.pauses * GOLDEN_RATIO) % 1
    const cancel = clock.after(Math.ceil(maxMs * (MIN_PAUSE_SHARE + (1 - MIN_PAUSE_SHARE) * share)), () => {
      this.#cancelPause = undefined
      this.#isCatchingUp = true
      this.#resumeReading()
    })
    this.#cancelPause = cancel
    this.#stopReading()
  }

  /** Passes all further bytes to `filterChunk` first. */
  startFiltering(): void {
    if (this.#isDisposed) return
    this.#isFiltering = true
    this.#install()
  }

  /** Call at each `readable` of the connection, which may signal its end. */
  onReadable(): void {
    if ((this.#isHeld || this.#cancelPause !== undefined) && this.#hasEnded()) this.#finishSoon()
    if (this.#probeBytes > 0) this.#emitProbeSoon()
  }

  /** Stops all timers and restores the connection's own `read`. */
  dispose(): void {
    this.#isDisposed = true
    this.#isHeld = false
    this.#cancelPause?.()
    this.#cancelPause = undefined
    this.#host.sharedReads.scheduler.remove(this.#readInSlice)
    this.#stopProbes()
    this.#uninstall()
  }

  /** Restores unlimited reading when the limiter is detached. */
  detach(): void {
    const wasStopped = this.isPaused || this.#isStepPending || this.#isCatchingUp
    this.dispose()
    if (wasStopped) setImmediate(() => this.#conn.emit('readable'))
  }

  #stopReading(): void {
    if (this.#isDisposed) return
    this.#install()
    if (this.#cancelProbe === undefined) this.#scheduleProbe()
  }

  #resumeReading(): void {
    if (this.isPaused || this.#isDisposed) return
    this.#stopProbes()
    this.#resumeSoon()
  }

  /** Emits `readable` later, because reading parses and the parser must not be entered while it runs. */
  #resumeSoon(): void {
    if (this.#isResumeScheduled) return
    this.#isResumeScheduled = true
    setImmediate(() => {
      this.#isResumeScheduled = false
      for (let times = Math.max(1, this.#readablesToSkip); times > 0; times--) {
        if (this.isPaused || this.#isDisposed || this.#conn.destroyed) return
        if (this.#readablesToSkip > 0) this.#readablesToSkip--
        this.#conn.emit('readable')
      }
    })
  }

  #install(): void {
    if (this.#originalRead !== undefined) return
    this.#originalRead = this.#conn.read
    this.#hasOwnRead = Object.hasOwn(this.#conn, 'read')
    this.#conn.read = size => this.#readSome(size)
  }

  #uninstall(): void {
    if (this.#originalRead === undefined) return
    if (this.#hasOwnRead) this.#conn.read = this.#originalRead
    else delete (this.#conn as { read?: unknown }).read
    this.#originalRead = undefined
  }

  #readSome(size: number | undefined): unknown {
    const read = this.#originalRead!
    // The stream checks whether there is more to fetch; the result is not data.
    if (size === 0) return read.call(this.#conn, 0)
    const waiting = this.#conn.readableLength
    // A discarded packet is done at once, and aedes then reads inside its own parser, which would emit the packet
    // twice.
    if (this.#isFiltering && waiting > 0 && this.#host.isParsing()) {
      this.#resumeSoon()
      return null
    }
    if (this.isPaused) {
      if (this.#probeBytes === 0 || waiting === 0) return null
      const bytes = Math.min(this.#probeBytes, waiting)
      this.#probeBytes -= bytes
      return read.call(this.#conn, bytes)
    }
    if (this.#isFinishing) return this.#filterChunk(read.call(this.#conn, size))
    if (this.#isCatchingUp) return this.#readInTurn(size, waiting)
    if (this.#isStepPending) return null
    if (waiting <= this.#stepBytes) return this.#filterChunk(read.call(this.#conn, size))
    this.#isStepPending = true
    setImmediate(() => this.#endStep())
    return this.#filterChunk(read.call(this.#conn, this.#stepBytes))
  }

  #readInTurn(size: number | undefined, waiting: number): unknown {
    if (waiting === 0) {
      this.#checkForMore()
      return this.#originalRead!.call(this.#conn, size)
    }
    if (!this.#hasTurn) {
      this.#host.sharedReads.scheduler.enqueue(this.#readInSlice)
      return null
    }
    this.#hasTurn = false
    if (waiting > TURN_BYTES) return this.#filterChunk(this.#originalRead!.call(this.#conn, TURN_BYTES))
    this.#checkForMore()
    return this.#filterChunk(this.#originalRead!.call(this.#conn, size))
  }

  #emitInTurn(): boolean {
    if (this.isPaused || this.#isDisposed || this.#conn.destroyed || !this.#isCatchingUp) return false
    this.#hasTurn = true
    this.#conn.emit('readable')
    // Still true if aedes skipped the event for a packet in progress: it reads when that is done.
    const hasRead = !this.#hasTurn
    this.#hasTurn = false
    return hasRead && !this.#conn.destroyed && this.#conn.readableLength > 0
  }

  /** Called when all received data is read: two turns of the event loop show if the socket has more. */
  #checkForMore(): void {
    if (this.#isChecking) return
    this.#isChecking = true
    setImmediate(() =>
      setImmediate(() => {
        this.#isChecking = false
        if (this.#isDisposed || !this.#isCatchingUp || this.#conn.readableLength > 0) return
        this.#isCatchingUp = false
        const pauseMs = this.#nextPauseMs
        this.#nextPauseMs = 0
        if (pauseMs > 0) this.pause(pauseMs)
        else if (!this.#isFiltering && !this.#isHeld) this.#uninstall()
      }),
    )
  }

  #filterChunk(chunk: unknown): unknown {
    return this.#isFiltering && chunk instanceof Buffer ? this.#host.filterChunk(chunk) : chunk
  }

  #endStep(): void {
    this.#isStepPending = false
    if (this.isPaused || this.#isDisposed || this.#conn.destroyed) return
    this.#stepBytes *= 2
    if (this.#stepBytes > MAX_STEP_BYTES) {
      this.#stepBytes = Number.POSITIVE_INFINITY
      if (!this.#isFiltering) this.#uninstall()
    }
    this.#conn.emit('readable')
  }

  #scheduleProbe(): void {
    const keepaliveMs = this.#host.keepaliveMs()
    if (keepaliveMs === 0) return
    this.#cancelProbe = this.#host.clock.after(keepaliveMs / PROBES_PER_KEEPALIVE, () => {
      this.#cancelProbe = undefined
      if (!this.isPaused || this.#isDisposed || this.#conn.destroyed) return
      this.#probe()
      if (this.isPaused) this.#scheduleProbe()
    })
  }

  #stopProbes(): void {
    this.#cancelProbe?.()
    this.#cancelProbe = undefined
    this.#probeBytes = 0
  }

  #probe(): void {
    if (this.#conn.readableLength > 0 || this.#isHeld) this.#host.onAlive()
    this.#probeBytes = Math.max(0, Math.min(MAX_STEP_BYTES, this.#host.heldRoom() * SMALLEST_PUBLISH_BYTES))
    this.#emitProbe()
  }

  #emitProbe(): void {
    const mayRead = (): boolean =>
      this.isPaused &&
      !this.#isDisposed &&
      !this.#conn.destroyed &&
      this.#probeBytes > 0 &&
      this.#conn.readableLength > 0
    this.#isProbing = true
    this.#emitReadable(mayRead)
    this.#isProbing = false
  }

  #emitProbeSoon(): void {
    if (this.#isProbing) return
    this.#isProbing = true
    setImmediate(() => this.#emitProbe())
  }

  /** aedes skips one `readable` per packet in progress before it reads again. */
  #emitReadable(mayEmit: () => boolean): void {
    for (let left = this.#host.heldCount() + 64; left > 0 && mayEmit(); left--) this.#conn.emit('readable')
  }

  /** Returns true if the client has ended its side, which is not noticed while reading is stopped. */
  #hasEnded(): boolean {
    return (this.#conn as { _readableState?: { ended?: boolean } })._readableState?.ended === true
  }

  #finishSoon(): void {
    if (this.#isFinishing) return
    this.#isFinishing = true
    setImmediate(() => {
      if (this.#isDisposed) return
      this.#emitReadable(() => !this.#isDisposed && !this.#conn.destroyed && !this.#conn.readableEnded)
    })
  }
}
