import { existsSync } from 'node:fs'
import { join, posix } from 'node:path'
import { describe, expect, it } from 'vitest'
import { completeSettings } from '../../brokers/aedes/options.ts'
import { LIMIT_OPTIONS, QUOTA_OPTIONS } from '../../src/chain/rules/create-limit-middleware.ts'
import { EXEMPT_OPTIONS } from '../../src/chain/rules/exemption.ts'
import { MAX_SIZES } from '../../src/core/max-sizes.ts'
import { GATE_OPTIONS } from '../../src/gate/gate.ts'
import { policyJsonSchema } from '../../src/policy/schema.ts'
import { MODULES } from '../structure/modules.ts'
import { listFiles, ROOT, readText } from '../structure/project.ts'
import { BLOCKS, PAGES, placeOf } from './pages.ts'

/** The text of a page without its blocks. */
const proseOf = (page: string): string => readText(page).replace(/^```[\s\S]*?^```$/gm, '')

/** What GitHub makes of a heading. */
function anchorsOf(page: string): readonly string[] {
  return [...proseOf(page).matchAll(/^#+ (.+)$/gm)].map(([, heading]) =>
    heading!
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  )
}

interface Link {
  readonly from: string
  readonly to: string
  readonly anchor: string | undefined
}

function linksOf(page: string): readonly Link[] {
  return [...proseOf(page).matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, target]) => target!)
    .filter(target => !/^[a-z]+:/.test(target))
    .map(target => {
      const [path = '', anchor] = target.split('#')
      return { from: page, to: path === '' ? page : posix.join(posix.dirname(page), path), anchor }
    })
}

describe('pages', () => {
  it('the README has fewer than 150 lines', () => {
    expect(readText('README.md').trimEnd().split('\n').length).toBeLessThan(150)
  })

  it('links lead to files and headings that are there', () => {
    const broken = PAGES.flatMap(linksOf).flatMap(({ from, to, anchor }) => {
      if (!existsSync(join(ROOT, to))) return [`${from} links to ${to}, which is not there`]
      if (anchor === undefined || anchorsOf(to).includes(anchor)) return []
      return [`${from} links to ${to}#${anchor}; there are ${anchorsOf(to).join(', ')}`]
    })
    expect(broken).toEqual([])
  })

  it('every page can be reached from the README', () => {
    const reached = new Set(['README.md'])
    for (const page of reached) {
      if (!page.endsWith('.md') || !existsSync(join(ROOT, page))) continue
      for (const { to } of linksOf(page)) reached.add(to)
    }
    expect([...PAGES, ...listFiles('examples', '.js')].filter(page => !reached.has(page))).toEqual([])
  })

  it('files that are named are there', () => {
    const named = /`((?:src|brokers|config|test|examples|bench|scripts|docs)\/[\w./-]*)`/g
    const missing = PAGES.flatMap(page =>
      [...proseOf(page).matchAll(named)]
        .filter(([, path]) => !existsSync(join(ROOT, path!)))
        .map(([, path]) => `${page} names ${path}, which is not there`),
    )
    expect(missing).toEqual([])
  })

  it('every block is of a kind that is tried', () => {
    const tried = new Set(['js', 'json', 'jsonl', 'sh', 'text', 'yaml'])
    expect(BLOCKS.filter(({ language }) => !tried.has(language)).map(placeOf)).toEqual([])
  })

  it('files of a page have names of their own', () => {
    const names = BLOCKS.flatMap(({ page, words }) =>
      words.filter(word => /\.\w+$/.test(word)).map(word => `${page} ${word}`),
    )
    expect(names.filter((name, index) => names.indexOf(name) < index)).toEqual([])
  })

  it('blocks of JSON can be read', () => {
    for (const { language, text } of BLOCKS) {
      if (language === 'json') expect(() => JSON.parse(text)).not.toThrow()
      else if (language === 'jsonl') for (const line of text.trimEnd().split('\n')) JSON.parse(line)
    }
  })

  it('examples have fewer than 60 lines', () => {
    const long = listFiles('examples').filter(path => readText(path).trimEnd().split('\n').length >= 60)
    expect(long).toEqual([])
  })
})

/** How a table may write the default of an option, or a bound. */
function wordsFor(value: unknown): readonly string[] {
  if (value === Infinity) return ['off', 'never']
  if (typeof value === 'number') return [value.toLocaleString('en-US')]
  return value === undefined || typeof value === 'function' ? ['none', 'by policy'] : [String(value)]
}

describe('numbers in tables', () => {
  const known: Readonly<Record<string, unknown>> = { ...completeSettings({}), ...MAX_SIZES }
  // What a word of a policy means stands in tables of the same form.
  const rows = PAGES.filter(page => page !== 'docs/policy.md').flatMap(page =>
    [...proseOf(page).matchAll(/^\| `(\w+)` \| ([^|]+) \|/gm)].flatMap(([, name, text]) =>
      Object.hasOwn(known, name!) ? [{ page, name: name!, text: text!.trim() }] : [],
    ),
  )

  it('are there', () => {
    expect(rows.length).toBeGreaterThan(15)
  })

  it.each(rows)('$page says of $name what the code says', ({ name, text }) => {
    // An option of the plugin and a bound of the same name differ: both are looked at.
    const values = [completeSettings({}), MAX_SIZES].flatMap(source =>
      Object.entries(source).flatMap(([key, value]) => (key === name ? [value as unknown] : [])),
    )
    expect(values.flatMap(wordsFor)).toContain(text)
  })
})

describe('docs/code.md', () => {
  const rows = new Map(
    [...readText('docs/code.md').matchAll(/^\| `(.+)\(\{…\}\)` \| (.*) \|$/gm)].map(([, name, cell]) => [
      name,
      cell!,
    ]),
  )

  it.each([
    ['limit', LIMIT_OPTIONS],
    ['quota', QUOTA_OPTIONS],
    ['exempt', EXEMPT_OPTIONS],
    ['new Gate', GATE_OPTIONS],
  ])('lists the options of %s', (name, options) => {
    const listed = [...rows.get(name)!.matchAll(/`(\w+)`/g)].map(([, word]) => word)
    expect(listed.toSorted()).toEqual(Object.keys(options).toSorted())
  })

  it('rules in code have the words of rules in policies', () => {
    const { $defs } = policyJsonSchema() as {
      readonly $defs: { readonly rule: { readonly properties: object } }
    }
    const words = Object.keys($defs.rule.properties)
    const inCode: object = { ...LIMIT_OPTIONS, ...QUOTA_OPTIONS }
    // Given to gate.use, and to limits of another kind.
    const elsewhere = [
      'topic',
      'inFlight',
      'connections',
      'subscriptions',
      'retained',
      'maxSize',
      'unchanged',
      'upTo',
    ]
    expect(words.filter(word => !Object.hasOwn(inCode, word) && !elsewhere.includes(word))).toEqual([])
  })
})

describe('the table of modules in ARCHITECTURE.md', () => {
  const table = readText('ARCHITECTURE.md').split('| module | may import')[1]!.split('\n\n')[0]!
  const rows = [...table.matchAll(/^\| (.+) \| (.+) \|$/gm)].flatMap(([, modules, imports]) =>
    [...modules!.matchAll(/`(?:src\/)?([\w-]+)(?:\/|\.ts)`/g)]
      .map(([, module]) => module!)
      .filter(module => Object.hasOwn(MODULES, module) && !imports!.startsWith('all above'))
      .map(module => ({
        module,
        imports: imports!
          .split(/[;.]/)[0]!
          .split(', ')
          .filter(to => to !== 'nothing'),
      })),
  )

  it('names every module that is there', () => {
    const named = new Set([...rows.map(({ module }) => module), 'core', 'index'])
    expect(Object.keys(MODULES).filter(module => !named.has(module))).toEqual([])
  })

  it.each(rows)('$module may import what the code may', ({ module, imports }) => {
    expect(imports.toSorted()).toEqual(MODULES[module]!.toSorted())
  })
})
