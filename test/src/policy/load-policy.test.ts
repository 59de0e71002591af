import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { formatProblem, PolicyError } from '../../../src/core/errors.ts'
import { MAX_SIZES } from '../../../src/core/max-sizes.ts'
import { type LoadedPolicy, loadPolicy, type PolicyInput } from '../../../src/policy/index.ts'
import { usualOrLong } from '../../support/long-run.ts'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'topicgate-load-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

function file(name: string, text: string | Uint8Array): string {
  const path = join(folder, name)
  writeFileSync(path, text)
  return path
}

function load(
  source: PolicyInput | readonly PolicyInput[],
  env: Record<string, string> = {},
): Promise<LoadedPolicy> {
  return loadPolicy(source, { env })
}

/** The lines of what loading says; the folder is left out. */
async function faults(
  source: PolicyInput | readonly PolicyInput[],
  env?: Record<string, string>,
): Promise<string[]> {
  const result = await load(source, env).catch((error: unknown) => error)
  if (!(result instanceof PolicyError)) throw new Error(`not refused: ${String(result)}`)
  return result.problems.map(problem => formatProblem(problem).replace(`${folder}/`, ''))
}

const rule = (name: string, more: object = {}): object => ({ name, limit: '10/s', ...more })

describe('loadPolicy', () => {
  it('reports five faults of different kinds at once, each in its line', async () => {
    const text = `version: 1
rules:
  - name: telemetry
    topic: fleet/{site}/#
    per: [site, room]
    limit: 0.5/s
  - name: daily
    quoat: 10/day
  - name: telemetry
    topic: a/#/b
    limit: 5/s
`
    expect(await faults(text)).toEqual([
      '5:17: rules[0].per[1]: "room" is neither a scope nor a capture of the rule\'s topic (it may be global, client, device, user, apiKey, role, tier, ip, topic, pattern, ip/24, header.NAME, site)',
      '6:12: rules[0].limit: the rate "0.5/s" is not a whole number (write 1 per 2s)',
      '8:5: rules[1]: unknown key `quoat` (did you mean quota?)',
      '9:11: rules[2].name: the name "telemetry" is used twice, first in line 3 (give each its own name, which identifies its state and reports)',
      '10:12: rules[2].topic: "a/#/b": # must be the last character (use + for a single level in the middle)',
    ])
  })

  it('reports every fault of one rule and of one exemption at once', async () => {
    const faulty = {
      exempt: [
        { topics: ['a+', 'b', '#/c'], ips: ['x', 'y'], limit: '0/s', when: { time: 'noon', days: 'never' } },
      ],
      rules: [
        rule('a', {
          limit: 'fast',
          per: 'x',
          cost: { payload: '[' },
          zone: 'UTC',
          warn: ['5'],
          penalties: { block: 'x' },
          on: 'x',
        }),
      ],
    }
    expect((await faults(faulty)).map(line => line.split(':')[0])).toEqual([
      'rules[0].on',
      'exempt[0].topics[0]',
      'exempt[0].topics[2]',
      'exempt[0].limit',
      'exempt[0].ips[0]',
      'exempt[0].ips[1]',
      'exempt[0].when.time',
      'exempt[0].when.days',
      'rules[0].zone',
      'rules[0].per',
      'rules[0].limit',
      'rules[0].cost.payload',
      'rules[0].warn[0]',
      'rules[0].penalties.block',
    ])
  })

  it('reads a path, YAML text, JSON text and an object to the same document', async () => {
    const document = { version: 1, rules: [rule('a', { topic: 'a/#' })] }
    const yaml = 'version: 1\nrules:\n  - { name: a, limit: 10/s, topic: "a/#" }\n'
    const json = JSON.stringify(document, null, '\t')
    const forms = [
      document,
      yaml,
      json,
      file('a.yaml', yaml),
      file('a.json', json),
      file('extensionless', yaml),
    ]
    for (const form of forms) expect((await load(form)).document).toEqual(document)
    expect((await load([file('a.yaml', yaml), {}])).files).toEqual([join(folder, 'a.yaml')])
  })

  it('says why a file cannot be read', async () => {
    expect(await faults(join(folder, 'nowhere.yaml'))).toEqual([
      'nowhere.yaml: the policy cannot be read: there is no such file (check the path and its permissions)',
    ])
    expect(await faults(file('latin.yaml', Uint8Array.of(0x61, 0xe4, 0x0a)))).toEqual([
      'latin.yaml: the file is not UTF-8 (save it as UTF-8)',
    ])
    expect(await faults(file('large.yaml', '#'.repeat(MAX_SIZES.policyBytes + 1)))).toEqual([
      `large.yaml: the file has ${MAX_SIZES.policyBytes + 1} bytes; a policy has at most ${MAX_SIZES.policyBytes} (count by captures instead of listing topics)`,
    ])
  })

  it('refuses what is no policy at all', async () => {
    const nothing: unknown[] = [null, 5, undefined, [], true, '', 'rules', [[]], () => {}]
    for (const source of nothing)
      await expect(load(source as PolicyInput)).rejects.toBeInstanceOf(PolicyError)
  })

  it('knows where each value stands', async () => {
    const path = file(
      'where.yaml',
      'rules:\n  - name: a\n    cost: { topics: { "a/+": 5 } }\n    limit: 10/s\n',
    )
    const { locate } = await load(path)
    expect(locate('rules[0].limit')).toEqual({ path: 'rules[0].limit', file: path, line: 4, column: 12 })
    expect(locate('rules[0].cost.topics["a/+"]')).toMatchObject({ line: 3, column: 30 })
    expect(locate('rules[0].burst')).toMatchObject({ line: 2, column: 5 })
  })

  it('lists a hundred problems and counts the rest', async () => {
    const rules = Array.from({ length: MAX_SIZES.policyProblems + 20 }, (_, index) => ({
      name: `r${index}`,
      limit: 'x',
    }))
    const lines = await faults({ rules })
    expect(lines).toHaveLength(MAX_SIZES.policyProblems + 1)
    expect(lines.at(-1)).toBe('there are 20 more problems (fix these first)')
  })

  it('loads ten thousand rules', async () => {
    const rules = Array.from({ length: 10_000 }, (_, index) => rule(`r${index}`, { topic: `t/${index}/#` }))
    expect((await load(JSON.stringify({ rules }))).document.rules).toHaveLength(10_000)
  })
})

describe('variables', () => {
  const text = (limit: string, more = ''): string => `rules:\n  - name: a\n    limit: ${limit}\n${more}`
  const limitOf = async (source: string, env: Record<string, string>): Promise<unknown> =>
    (await load(source, env)).document.rules?.[0]

  it('are put in, with a default where they are unset or empty', async () => {
    expect(await limitOf(text(`\${RATE}`), { RATE: '5/s' })).toMatchObject({ limit: '5/s' })
    expect(await limitOf(text(`\${RATE:-7/s burst 9}`), {})).toMatchObject({ limit: '7/s burst 9' })
    expect(await limitOf(text(`"\${COUNT:-1}/s burst \${BURST}"`), { COUNT: '', BURST: '3' })).toMatchObject({
      limit: '1/s burst 3',
    })
  })

  it('keep the type that YAML gives to what was put in, save in quotes', async () => {
    const more = `    initial: \${N}\n    shadow: \${S}\n    priority: \${P:--2}\n    description: "\${N}"\n`
    expect(await limitOf(text('10/s', more), { N: '5', S: 'true' })).toMatchObject({
      initial: 5,
      shadow: true,
      priority: -2,
      description: '5',
    })
  })

  it('cannot bring in YAML of their own', async () => {
    const evil = '10/s\n    shadow: true\n  - { name: b }'
    expect(await faults(text(`\${RATE}`), { RATE: evil })).toHaveLength(1)
    expect(await limitOf(text('10/s', `    description: \${D}\n`), { D: '{ a: [1] }' })).toMatchObject({
      description: '{ a: [1] }',
    })
    expect(await limitOf(text('10/s', `    description: \${D}\n`), { D: `\${HOME}` })).toMatchObject({
      description: `\${HOME}`,
    })
  })

  it('are left alone where they are escaped, and so are topics with a dollar', async () => {
    const more = `    description: "$\${HOME} costs 5$"\n    topic: $SYS/{x}/#\n`
    expect(await limitOf(text('10/s', more), {})).toMatchObject({
      description: `\${HOME} costs 5$`,
      topic: '$SYS/{x}/#',
    })
  })

  it('may hold captures and other variables in their defaults', async () => {
    const more = `    topic: \${TOPIC:-fleet/{site}/\${KIND:-t}/#}\n`
    expect(await limitOf(text('10/s', more), {})).toMatchObject({ topic: 'fleet/{site}/t/#' })
  })

  it('are taken from own properties only', async () => {
    expect(await faults(text(`\${toString}`))).toEqual([
      `3:12: rules[0].limit: the variable toString is not set (set it, or give a default: \${toString:-…})`,
    ])
  })

  it('are put into objects given in code', async () => {
    expect((await load({ rules: [rule(`\${NAME}`)] }, { NAME: 'x' })).document.rules?.[0]?.name).toBe('x')
  })
})

describe('untrusted policies', () => {
  it('a YAML bomb is refused at once', async () => {
    const lines = ['a: &a0 [x, x, x, x, x, x, x, x, x, x]']
    for (let n = 1; n < 30; n++)
      lines.push(
        `b${n}: &a${n} [${Array(10)
          .fill(`*a${n - 1}`)
          .join(', ')}]`,
      )
    expect((await faults(lines.join('\n'))).join('\n')).toContain('aliases repeat more than 10000 values')
  })

  it('an anchor may stand for a list used twice', async () => {
    const text = 'exempt:\n  - name: a\n    users: &u [x, y]\n  - name: b\n    clients: *u\n'
    expect((await load(text)).document.exempt?.[1]).toEqual({ name: 'b', clients: ['x', 'y'] })
  })

  it('no key reaches a prototype', async () => {
    const lines = await faults(
      '{"rules": [{"name": "a", "limit": "10/s", "cost": {"topics": {"__proto__": 5}}}]}',
    )
    expect(lines).toEqual(['1:63: rules[0].cost.topics.__proto__: `__proto__` cannot be a key (remove it)'])
    await faults(JSON.parse('{"__proto__": {"rules": []}}'))
    await faults({ constructor: 1, toString: 2, rules: [] })
    expect(({} as Record<string, unknown>).rules).toBeUndefined()
  })

  it('an object that holds itself is refused', async () => {
    const circle: Record<string, unknown> = { name: 'a' }
    circle.when = { all: [circle] }
    expect((await faults({ exempt: [circle] }))[0]).toContain('or contain themselves')
  })

  const SIZE = usualOrLong(1 << 17, 1 << 20)
  it.each([
    ['brackets', '['.repeat(SIZE)],
    ['braces', '{'.repeat(SIZE)],
    ['closing brackets', ']'.repeat(SIZE)],
    ['dashes', '- '.repeat(SIZE / 2)],
    ['question marks', '? '.repeat(SIZE / 2)],
    ['keys on one line', 'a: '.repeat(SIZE / 4)],
    ['quotes', '"'.repeat(SIZE)],
    ['anchors', '&a '.repeat(SIZE / 4)],
    ['aliases', '- *a\n'.repeat(SIZE / 8)],
    ['repetitions of one key', 'a: 1\n'.repeat(SIZE / 8)],
    ['different keys', Array.from({ length: SIZE / 16 }, (_, n) => `key${n}: 1`).join('\n')],
    ['documents', '---\n'.repeat(SIZE / 4)],
    ['zeros', '\0'.repeat(SIZE)],
    [
      'random characters',
      Array.from({ length: SIZE }, (_, n) => String.fromCharCode((n * 7919 + n * n * 31) % 127)).join(''),
    ],
  ])(
    'many %s are an error, not a hang',
    async (_name, garbage) => {
      const lines = await faults(`${garbage}\n`)
      expect(lines.length).toBeGreaterThan(0)
      expect(lines.length).toBeLessThanOrEqual(MAX_SIZES.policyProblems + 1)
      expect(lines.join('').length).toBeLessThan(100_000)
    },
    60_000,
  )

  it('any text and any object is a policy or a PolicyError', async () => {
    const words = [
      'rules',
      'name',
      'limit',
      'exempt',
      'when',
      ': ',
      '\n',
      '  ',
      '- ',
      '[',
      ']',
      '{',
      '}',
      '"',
      '10/s',
      '&a',
      '*a',
      `\${`,
      '#',
      ',',
      'senders',
      'a',
    ]
    const yaml = fc.array(fc.constantFrom(...words), { maxLength: 40 }).map(parts => `${parts.join('')}\n`)
    const values = fc.anything({ maxDepth: 3 })
    const policy = fc.record(
      { version: values, rules: fc.array(values), exempt: fc.array(values), senders: values, store: values },
      { requiredKeys: [] },
    )
    const ruled = fc.record({
      rules: fc.array(
        fc.record({
          name: values,
          limit: values,
          per: values,
          cost: values,
          exceeded: values,
          topic: values,
        }),
      ),
    })
    await fc.assert(
      fc.asyncProperty(fc.oneof(yaml, policy, ruled), async source => {
        try {
          await load(source)
        } catch (error) {
          expect(error).toBeInstanceOf(PolicyError)
        }
      }),
      { seed: 4_711, numRuns: 400 },
    )
  })
})
