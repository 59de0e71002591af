import { parseAst } from 'rolldown/parseAst'
import { listImports, readText } from './project.ts'

interface SyntaxNode {
  readonly type: string
  readonly start: number
  readonly [key: string]: unknown
}

interface Test {
  /** The place of the test, `file:line: title`. */
  readonly place: string
  readonly body: SyntaxNode
}

interface TestFile {
  readonly imports: readonly string[]
  /** Functions by name, wherever they are declared in the file. */
  readonly functions: ReadonlyMap<string, readonly SyntaxNode[]>
  readonly tests: readonly Test[]
}

/** Functions that register a test by title and function. `addTest` is that of the conformance suites. */
const REGISTERS_TEST = new Set(['it', 'test', 'addTest'])
const MODIFIERS = new Set(['each', 'for', 'concurrent', 'sequential'])
const ASSERTS = new Set(['expect', 'assert', 'expectTypeOf'])

const files = new Map<string, TestFile>()

/** Returns the places of tests of a file that assert nothing, neither themselves nor by a function they call. */
export function testsWithoutAssertion(path: string): readonly string[] {
  return fileOf(path)
    .tests.filter(({ body }) => !asserts(body, path, new Set()))
    .map(({ place }) => place)
}

function asserts(node: SyntaxNode, path: string, seen: Set<SyntaxNode>): boolean {
  if (seen.has(node)) return false
  seen.add(node)
  const names = namesIn(node)
  if (names.some(name => ASSERTS.has(name))) return true
  const known = [path, ...fileOf(path).imports]
  return names.some(name =>
    known.some(file =>
      fileOf(file)
        .functions.get(name)
        ?.some(found => asserts(found, file, seen)),
    ),
  )
}

function fileOf(path: string): TestFile {
  const known = files.get(path)
  if (known !== undefined) return known
  const text = readText(path)
  const functions = new Map<string, SyntaxNode[]>()
  const tests: Test[] = []
  visit(parseAst(text, { lang: 'ts' }) as unknown as SyntaxNode, node => {
    const [name, value] = declarationOf(node)
    if (name !== undefined && value != null) functions.set(name, [...(functions.get(name) ?? []), value])
    const test = testOf(node)
    if (test === undefined) return
    const line = text.slice(0, node.start).split('\n').length
    tests.push({
      place: `${path}:${line}: ${text.slice(test.title.start, test.title.end as number)}`,
      body: test.body,
    })
  })
  const imports = listImports(path).flatMap(({ to, kind }) =>
    kind !== 'type' && to.startsWith('test/') && to.endsWith('.ts') ? [to] : [],
  )
  const file = { imports, functions, tests }
  files.set(path, file)
  return file
}

/** Returns the name and the function of a declaration, a method or a property. */
function declarationOf(node: SyntaxNode): readonly [name?: string, value?: SyntaxNode] {
  if (node.type === 'FunctionDeclaration') return [nameOf(node.id), node]
  if (node.type === 'VariableDeclarator') return [nameOf(node.id), node.init as SyntaxNode]
  if (node.type === 'MethodDefinition' || node.type === 'Property' || node.type === 'PropertyDefinition')
    return [nameOf(node.key), node.value as SyntaxNode]
  return []
}

/** Returns the title and the function of a call such as `it(…)` or `it.each(…)(…)`. */
function testOf(node: SyntaxNode): { readonly title: SyntaxNode; readonly body: SyntaxNode } | undefined {
  if (node.type !== 'CallExpression') return undefined
  const [title, ...rest] = node.arguments as readonly SyntaxNode[]
  if (title?.type !== 'Literal' && title?.type !== 'TemplateLiteral') return undefined
  const body = rest.find(({ type }) => type === 'ArrowFunctionExpression' || type === 'FunctionExpression')
  if (body === undefined || !REGISTERS_TEST.has(rootOf(node.callee as SyntaxNode) ?? '')) return undefined
  return { title, body }
}

/** Returns the first name of a callee: `it` of `it.each(…)`. */
function rootOf(node: SyntaxNode): string | undefined {
  if (node.type === 'CallExpression') return rootOf(node.callee as SyntaxNode)
  if (node.type === 'MemberExpression')
    return MODIFIERS.has(nameOf(node.property) ?? '') ? rootOf(node.object as SyntaxNode) : undefined
  return nameOf(node)
}

function nameOf(node: unknown): string | undefined {
  const { type, name } = (node ?? {}) as { readonly type?: string; readonly name?: string }
  return type === 'Identifier' ? name : undefined
}

function namesIn(node: SyntaxNode): readonly string[] {
  const names = new Set<string>()
  visit(node, each => {
    const name = nameOf(each)
    if (name !== undefined) names.add(name)
  })
  return [...names]
}

function visit(node: SyntaxNode, see: (node: SyntaxNode) => void): void {
  see(node)
  for (const value of Object.values(node)) {
    for (const child of Array.isArray(value) ? value : [value]) {
      if (typeof child === 'object' && child !== null && 'type' in child) visit(child as SyntaxNode, see)
    }
  }
}
