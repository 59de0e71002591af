import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { CustomAlgorithm } from '../../algorithms/custom-algorithm-types.ts'
import type { AlgorithmName, Limit } from '../../algorithms/limit-types.ts'
import { MAX_SIZES } from '../../core/max-sizes.ts'
import { packageFile } from '../../core/package-files.ts'

function read(path: string): string {
  return readFileSync(packageFile(`src/${path}`), 'utf8')
}

/** Lua script and the SHA-1 for EVALSHA. */
export interface Script {
  readonly text: string
  readonly sha: string
}

/**
 * Short names of the Lua algorithms. Why: every stored value begins with one, and Redis stores 44 bytes in one
 * allocation.
 */
const LUA_NAMES: Readonly<Record<AlgorithmName, string>> = {
  'token-bucket': 'tb',
  'leaky-bucket': 'lb',
  'fixed-window': 'fw',
  'sliding-log': 'sl',
  'sliding-counter': 'sc',
  quota: 'qu',
}

export function getLuaName({ algorithm, custom }: Pick<Limit, 'algorithm' | 'custom'>): string {
  return custom === undefined ? LUA_NAMES[algorithm as AlgorithmName] : customLuaNameOf(custom.name)
}

/** Returns the short name of a custom algorithm. Built-in names have no colon. */
function customLuaNameOf(name: string): string {
  return `x:${name}`
}

/**
 * Scripts of a store: prelude, Lua algorithms and decide.lua; a second one also includes the custom algorithms seen
 * so far, at most {@link MAX_SIZES.redisCustomAlgorithms}. Each further custom algorithm changes the SHA of the second script.
 */
export class Scripts {
  #builtInScript: Script | undefined
  #extendedScript: Script | undefined
  readonly #customScripts = new Map<string, string>()

  /** Returns the script for charges with or without a custom algorithm. */
  of(hasCustoms: boolean): Script {
    if (hasCustoms) {
      this.#extendedScript ??= compose(this.#customScripts)
      return this.#extendedScript
    }
    this.#builtInScript ??= compose(new Map())
    return this.#builtInScript
  }

  /** Returns why a custom algorithm cannot run; undefined if it can. */
  refuses({ name, lua, refund, luaRefund, stateSize = 0 }: CustomAlgorithm): string | undefined {
    if (lua === undefined) return `the algorithm "${name}" has no Lua code (set \`lua\`)`
    if (refund !== undefined && luaRefund === undefined) {
      return `the refund of the algorithm "${name}" has no Lua code (set \`luaRefund\`)`
    }
    if (stateSize > MAX_SIZES.redisStateNumbers) {
      return `the state of the algorithm "${name}" may hold ${stateSize} numbers; the maximum on Redis is ${MAX_SIZES.redisStateNumbers}`
    }
    const known = this.#customScripts.get(name)
    if (known === undefined && this.#customScripts.size >= MAX_SIZES.redisCustomAlgorithms) {
      return `there are ${MAX_SIZES.redisCustomAlgorithms} custom algorithms already`
    }
    return undefined
  }

  /** Adds a custom algorithm; replaces an earlier one of the same name. */
  add(algorithm: CustomAlgorithm): void {
    const script = composeCustomAlgorithm(algorithm)
    if (this.#customScripts.get(algorithm.name) === script) return
    this.#customScripts.set(algorithm.name, script)
    this.#extendedScript = undefined
  }
}

let shared: { readonly head: string; readonly main: string } | undefined

function compose(customs: ReadonlyMap<string, string>): Script {
  shared ??= {
    head: [
      read('stores/redis/prelude.lua'),
      read('algorithms/window.lua'),
      ...Object.entries(LUA_NAMES).map(([name, script]) =>
        wrapAlgorithm(script, read(`algorithms/${name}.lua`)),
      ),
      read('algorithms/custom.lua'),
    ].join('\n'),
    main: read('stores/redis/decide.lua'),
  }
  const own = [...customs].map(([name, script]) => wrapAlgorithm(customLuaNameOf(name), script))
  const text = [shared.head, ...own, shared.main].join('\n')
  return { text, sha: createHash('sha1').update(text).digest('hex') }
}

/** Returns the call of custom.lua that defines the algorithm's step and refund. */
function composeCustomAlgorithm({ name, lua = '', luaRefund }: CustomAlgorithm): string {
  const bodies = luaRefund === undefined ? [lua] : [lua, luaRefund]
  const functions = bodies.map(body => `function(state, now, cost, limit)\n${body}\nend`)
  return `return customAlgorithm(${[JSON.stringify(name), ...functions].join(', ')})`
}

function wrapAlgorithm(name: string, body: string): string {
  return `algorithms['${name}'] = function()\n${body}\nend\n`
}
