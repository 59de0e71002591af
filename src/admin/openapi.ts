import * as z from 'zod'
import { readVersion } from '../core/package-files.ts'
import { PROBLEM_TITLES, PROBLEM_TYPE } from './problem.ts'
import type { AnswerSpec, Route } from './route.ts'
import { problemDocumentSchema } from './schemas/common.ts'
import { EVENT_SCHEMAS } from './schemas/events.ts'

/** Path under which all resources are. */
export const BASE_PATH = '/api/v1'

type Json = Readonly<Record<string, unknown>>

/** Returns the OpenAPI 3.1 document of routes, generated from their schemas. */
export function createOpenApi(routes: readonly Route[]): Json {
  const paths: Record<string, Record<string, Json>> = {}
  for (const route of routes) {
    const path = `${BASE_PATH}${route.path}`
    paths[path] ??= {}
    paths[path][route.method.toLowerCase()] = describeRoute(route)
  }
  const events = Object.entries(EVENT_SCHEMAS).map(([type, schema]) => [`Event_${type}`, schemaOf(schema)])
  return {
    openapi: '3.1.0',
    info: {
      title: 'topicgate admin API',
      version: readVersion(),
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: '/' }],
    security: [{ token: [] }],
    paths,
    components: {
      securitySchemes: {
        token: { type: 'http', scheme: 'bearer', description: 'A token of `topicgate token create`.' },
      },
      schemas: { Problem: schemaOf(problemDocumentSchema), ...Object.fromEntries(events) },
    },
  }
}

function describeRoute({ method, path, role, summary, params, query, body, answers }: Route): Json {
  const parameters = [...parametersOf('path', params), ...parametersOf('query', query)]
  const hasBody = body !== undefined
  return {
    operationId: operationId(method, path),
    summary,
    tags: [path.split('/')[1]],
    ...(role === undefined ? { security: [] } : { description: `Needs the role ${role}.`, 'x-role': role }),
    ...(parameters.length > 0 ? { parameters } : {}),
    ...(hasBody
      ? { requestBody: { required: true, content: { 'application/json': { schema: schemaOf(body) } } } }
      : {}),
    responses: {
      ...Object.fromEntries(
        Object.entries(answers).map(([status, answer]) => [status, describeAnswer(answer)]),
      ),
      default: {
        description: `A problem: ${Object.keys(PROBLEM_TITLES).join(', ')}.`,
        content: { [PROBLEM_TYPE]: { schema: { $ref: '#/components/schemas/Problem' } } },
      },
    },
  }
}

function describeAnswer({ description, schema, type }: AnswerSpec): Json {
  if (schema !== undefined)
    return { description, content: { 'application/json': { schema: schemaOf(schema) } } }
  return type === undefined
    ? { description }
    : { description, content: { [type]: { schema: { type: 'string' } } } }
}

function parametersOf(place: 'path' | 'query', schema: z.ZodType | undefined): readonly Json[] {
  if (schema === undefined) return []
  const { properties = {}, required = [] } = schemaOf(schema) as {
    readonly properties?: Readonly<Record<string, Json>>
    readonly required?: readonly string[]
  }
  return Object.entries(properties).map(([name, each]) => ({
    name,
    in: place,
    required: place === 'path' || required.includes(name),
    schema: each,
  }))
}

function schemaOf(schema: z.ZodType): Json {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, {
    target: 'draft-2020-12',
    io: 'input',
    unrepresentable: 'any',
  })
  return rest
}

/** Returns `getSendersById` for `GET /senders/{id}`. */
function operationId(method: string, path: string): string {
  const words = path.split(/[/-]/).filter(word => word !== '')
  const named = words.map(word => {
    const name = word.replace(/[{}.]/g, '')
    const capital = name.charAt(0).toUpperCase() + name.slice(1)
    return word.startsWith('{') ? `By${capital}` : capital
  })
  return method.toLowerCase() + named.join('')
}
