import { readdirSync, readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { LoopTurns } from '../../../src/core/loop-turns.ts'
import { packageFile } from '../../../src/core/package-files.ts'
import { type PolicyParseResult, parseYaml } from '../../../src/policy/parse-yaml.ts'

/** Takes a new turn whenever it is asked, so that a text is divided as often as possible. */
class ShortTurns extends LoopTurns {
  count = 0

  override isOver(): boolean {
    return true
  }

  override async next(): Promise<void> {
    this.count++
  }
}

/** Never takes a new turn, so that a text is not divided. */
class EndlessTurns extends LoopTurns {
  override isOver(): boolean {
    return false
  }
}

const ENV = { RATE: '10/s' }

/** Parses a text as a whole and in parts. Expects the same of both, and returns it with the number of parts. */
async function parse(text: string): Promise<PolicyParseResult & { readonly turns: number }> {
  const whole = await parseYaml(text, ENV, new EndlessTurns(), 'p.yaml')
  const turns = new ShortTurns()
  const divided = await parseYaml(text, ENV, turns, 'p.yaml')
  expect(divided.root).toEqual(whole.root)
  expect(new Set(divided.problems)).toEqual(new Set(whole.problems))
  return { ...divided, turns: turns.count }
}

const range = (count: number): readonly number[] => Array.from({ length: count }, (_, index) => index)
const blockRules = (count: number, more = ''): string =>
  range(count)
    .map(index => `  - name: r${index}\n    topic: "a/${index}/#"\n    limit: \${RATE}\n${more}`)
    .join('')

describe('a text that is parsed in parts', () => {
  it.each(readdirSync(packageFile('config')).filter(name => name.endsWith('.yaml')))(
    'config/%s gives the same as a whole',
    async name => {
      const { root, problems } = await parse(readFileSync(packageFile(`config/${name}`), 'utf8'))
      expect(root?.kind).toBe('map')
      expect(problems).toEqual([])
    },
  )

  it('keeps the lines and columns of every rule', async () => {
    const { root, turns } = await parse(`version: 1\nrules:\n${blockRules(200)}`)
    const rules = root?.kind === 'map' ? root.entries.get('rules')?.value : undefined
    const last = rules?.kind === 'list' ? rules.items.at(-1) : undefined
    expect(rules?.position).toEqual({ file: 'p.yaml', line: 3, column: 3 })
    expect(last?.position).toEqual({ file: 'p.yaml', line: 3 + 3 * 199, column: 5 })
    expect(turns).toBeGreaterThan(20)
  })

  const rules = blockRules(60)
  const json = range(60).map(index => ({ name: `r${index}`, per: ['client', 'topic'], limit: '10/s' }))
  it.each([
    ['JSON in lines', JSON.stringify({ version: 1, rules: json }, null, 2)],
    ['JSON in one line', JSON.stringify({ exempt: json, rules: json, version: 1 })],
    ['a trailing comma', `rules: [${json.map(rule => `${JSON.stringify(rule)},`).join('\n  ')}]`],
    ['comments and empty lines', rules.replaceAll('    topic', '\n    # of a site\n\n    topic')],
    ['comments in the column of the dash', `rules:\n${rules.replaceAll('  - name', '  # next\n  - name')}`],
    ['a list without indentation', `rules:\n${rules.replaceAll('\n  ', '\n').slice(2)}`],
    ['keys after the list', `rules:\n${rules}store: memory\nexempt:\n${rules}`],
    [
      'an anchor and aliases',
      `rules:\n  - &first { name: x }\n${rules}exempt:\n  - *first\n${rules}  - *first\n`,
    ],
    ['an anchor before the list', `store: &url memory\nrules:\n${blockRules(60, '    description: *url\n')}`],
    ['an anchor on the list', `rules: &rules\n${rules}exempt: *rules\n`],
    ['an anchor on the root', `--- &root\nrules:\n${rules}self: *root\n`],
    ['block texts', `rules:\n${blockRules(60, '    description: |\n      of\n\n      a: site\n')}`],
    ['a document marker', `%YAML 1.2\n---\nrules:\n${rules}`],
    ['an explicit key', `? rules\n:\n${rules}`],
    ['a list as the root', rules],
    [
      'many keys',
      range(300)
        .map(index => `key${index}: ${index}\n`)
        .join(''),
    ],
    ['a key given twice', `version: 1\nrules:\n${rules}version: 1\nrules:\n${rules}`],
    ['a variable that is not set', `rules:\n${blockRules(60, `    per: \${SCOPE}\n`)}`],
    ['an item that is indented less', `rules:\n${rules} - name: x\n${rules}`],
    ['an item that is indented more', `rules:\n${rules}   - name: x\n${rules}`],
    ['an item without a dash', `rules:\n${rules}    name: x\n  name: y\n${rules}`],
    ['an empty item', `rules:\n${rules}  -\n${rules}  -\n`],
    ['a doubled comma', `rules: [${json.map(rule => JSON.stringify(rule)).join(', ,')}]`],
    ['a bracket that is not closed', `rules: [${json.map(rule => JSON.stringify(rule)).join(',\n  ')}`],
    ['a bracket that is not opened', `rules:\n${rules}  - name: x]\n    per: ]\n${rules}`],
    ['a second document', `rules:\n${rules}---\nrules:\n${rules}`],
    ['a quote that is not closed', `rules:\n${rules}  - name: "x\n${rules}`],
    ['a tab', `rules:\n${rules}  - name: x\n\tlimit: 1/s\n${rules}`],
    ['a tag', `rules:\n${rules}  - !rule { name: x }\n${rules}`],
    [
      'pairs in a list',
      `rules: [${range(99)
        .map(index => `name: ${index}, "x": ${index}`)
        .join(', ')}]`,
    ],
  ])('gives the same as a whole: %s', async (_title, text) => {
    const { turns } = await parse(text)
    expect(turns).toBeGreaterThan(2)
  })

  it('gives the same as a whole after any change of a character', async () => {
    const text = `version: 1\nexempt: [${json.slice(0, 20).map(rule => JSON.stringify(rule))}]\nrules:\n${rules}`
    const change = fc.tuple(fc.nat(text.length), fc.constantFrom(...'-:,[]{}"\'#&*!|>% \n\ta'))
    await fc.assert(
      fc.asyncProperty(change, async ([at, character]) => {
        await parse(text.slice(0, at) + character + text.slice(at))
        await parse(text.slice(0, at) + character + text.slice(at + 1))
      }),
      { numRuns: 30, seed: 1 },
    )
  })
})
