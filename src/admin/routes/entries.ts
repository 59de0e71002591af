import * as z from 'zod'
import { SENDER_PARTS, type SenderSelector } from '../../chain/senders/sender-selector.ts'
import { policyError } from '../../core/errors.ts'
import type { RuntimeEntry, RuntimeEntryKind, RuntimeEntryOptions } from '../../gate/runtime-entry.ts'
import { hasHiddenSecret, redact, restoreSecrets } from '../../policy/index.ts'
import { pageOf } from '../page.ts'
import { AdminProblem } from '../problem.ts'
import { defineRoute, type Route } from '../route.ts'
import { pageQuery, reasonSchema } from '../schemas/common.ts'
import {
  banBodySchema,
  banSchema,
  changedSchema,
  exemptionBodySchema,
  exemptionSchema,
  listSchema,
  overrideBodySchema,
  overrideSchema,
  tierBodySchema,
  tierEntrySchema,
} from '../schemas/entries.ts'
import { parseSenderId } from '../sender-id.ts'
import type { AdminState } from '../state/admin-state.ts'

const pathSchema = z.object({ id: z.string().min(1).max(2_048) })

/** List of runtime entries, as far as its routes use it. */
interface EntryList {
  readonly size: number
  list(): readonly RuntimeEntry[]
  get(id: string): RuntimeEntry | undefined
  isShared(id: string): boolean
  remove(id: string, why: { readonly by?: string; readonly reason?: string }): Promise<boolean>
}

interface EntryKind<Body extends z.ZodType> {
  /** Path of the list, as `bans`. */
  readonly path: string
  readonly noun: RuntimeEntryKind
  readonly entry: z.ZodType
  readonly body: Body
  listOf(state: AdminState): EntryList
  /** Adds the entry that a path and a body name. Returns it once other nodes can read it. */
  add(state: AdminState, id: string, body: z.output<Body>, addedBy: string): Promise<RuntimeEntry>
}

/** Returns the five routes of a kind of runtime entry. */
function entryRoutes<Body extends z.ZodType>(kind: EntryKind<Body>): readonly Route[] {
  const { path, noun, entry } = kind
  const found = (state: AdminState, id: string): RuntimeEntry => {
    const one = kind.listOf(state).get(id)
    if (one === undefined) throw new AdminProblem(404, `there is no ${noun} ${JSON.stringify(id)}`)
    return one
  }
  return [
    defineRoute({
      method: 'GET',
      path: `/${path}`,
      role: 'viewer',
      summary: `A page of ${path}, the oldest first`,
      query: z.object(pageQuery),
      answers: { 200: { description: 'Entries.', schema: listSchema(entry) } },
      handle({ query }, { state }) {
        const { items, total, next } = pageOf(kind.listOf(state).list(), query, ({ id }) => id)
        return { body: { entries: items.map(redact), total, next } }
      },
    }),
    defineRoute({
      method: 'GET',
      path: `/${path}/{id}`,
      role: 'viewer',
      summary: `One ${noun}`,
      params: pathSchema,
      answers: { 200: { description: 'The entry.', schema: entry } },
      handle: ({ params: { id } }, { state }) => ({ body: redact(found(state, id)) as object }),
    }),
    defineRoute({
      method: 'PUT',
      path: `/${path}/{id}`,
      role: 'operator',
      summary: `Adds or replaces the ${noun} of this id`,
      params: pathSchema,
      body: kind.body,
      answers: {
        200: { description: 'It was replaced.', schema: changedSchema(entry) },
        201: { description: 'It was added.', schema: changedSchema(entry) },
      },
      async handle({ params, body }, { state, caller, ip }) {
        const list = kind.listOf(state)
        const before = list.size
        const added = await state.audit.withAddress(ip, () => kind.add(state, params.id, body, caller.name))
        return { status: list.size > before ? 201 : 200, body: await changed(state, kind, added) }
      },
    }),
    defineRoute({
      method: 'DELETE',
      path: `/${path}/{id}`,
      role: 'operator',
      summary: `Removes a ${noun}`,
      params: pathSchema,
      query: z.object({ reason: reasonSchema }),
      answers: { 204: { description: 'It was removed.' } },
      async handle({ params: { id }, query: { reason } }, { state, caller, ip }) {
        found(state, id)
        const why = { by: caller.name, reason }
        await state.audit.withAddress(ip, () => kind.listOf(state).remove(id, why))
        await state.audit.written()
        return { status: 204 }
      },
    }),
  ]
}

async function changed(
  state: AdminState,
  { noun, listOf }: Pick<EntryKind<z.ZodType>, 'noun' | 'listOf'>,
  entry: RuntimeEntry,
): Promise<object> {
  const [nodes] = await Promise.all([state.confirmEntry(noun, entry.id), state.audit.written()])
  return {
    entry: redact(entry),
    persisted: listOf(state).isShared(entry.id),
    nodes,
  }
}

/** Returns the part of a sender that an id names, as options of an entry: `{ client: 'd7' }`. */
function subjectOf(id: string): SenderSelector {
  const name = parseSenderId(id)
  if (name === undefined) {
    const parts = SENDER_PARTS.map(part => `${part}:`).join(', ')
    throw new AdminProblem(400, `${JSON.stringify(id)} names no sender: begin with one of ${parts}`)
  }
  return { [name.part]: name.value }
}

type Change = Pick<RuntimeEntryOptions, 'reason' | 'code' | 'for'>

function changeOf({ reason, code, for: length }: Change, addedBy: string): RuntimeEntryOptions {
  return { reason, code, for: length, addedBy }
}

const bans = entryRoutes({
  path: 'bans',
  noun: 'ban',
  entry: banSchema,
  body: banBodySchema,
  listOf: ({ gate }) => gate.bans,
  add: ({ gate }, id, body, by) =>
    gate.bans.add({ ...subjectOf(id), outcome: body.outcome, ...changeOf(body, by) }),
})

const overrides = entryRoutes({
  path: 'overrides',
  noun: 'override',
  entry: overrideSchema,
  body: overrideBodySchema,
  listOf: ({ gate }) => gate.overrides,
  add: ({ gate }, id, body, by) => {
    const { limit, rules } = body
    // The id of an override of some rules ends with their names.
    const suffix = rules === undefined ? '' : ` ${rules.toSorted().join(',')}`
    const subject = subjectOf(id.endsWith(suffix) ? id.slice(0, id.length - suffix.length) : id)
    return gate.overrides.add({ ...subject, limit, rules, ...changeOf(body, by) })
  },
})

const tiers = entryRoutes({
  path: 'tiers',
  noun: 'tier',
  entry: tierEntrySchema,
  body: tierBodySchema,
  listOf: ({ gate }) => gate.tiers,
  add: ({ gate }, id, body, by) =>
    gate.tiers.add({ ...subjectOf(id), tier: body.tier, ...changeOf(body, by) }),
})

const exemptions = entryRoutes({
  path: 'exemptions',
  noun: 'exemption',
  entry: exemptionSchema,
  body: exemptionBodySchema,
  listOf: ({ gate }) => gate.exemptions,
  add: ({ gate }, name, body, addedBy) => {
    const fields = restoreSecrets(body, gate.exemptions.get(name) ?? {})
    if (hasHiddenSecret(fields)) {
      const remedy = 'write the secret, or send the field as GET returned it'
      throw policyError('', '*** is not a secret: secrets are hidden when they are read', remedy)
    }
    return gate.exemptions.add({ ...fields, name, addedBy })
  },
})

export const ENTRY_ROUTES: readonly Route[] = [...bans, ...overrides, ...tiers, ...exemptions]
