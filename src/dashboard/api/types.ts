import type * as z from 'zod'
import type { problemSchema } from '../../admin/schemas/common.ts'
import type {
  banSchema,
  exemptionSchema,
  overrideSchema,
  tierEntrySchema,
} from '../../admin/schemas/entries.ts'
import type { EVENT_SCHEMAS } from '../../admin/schemas/events.ts'
import type {
  alertSchema,
  alertsSchema,
  auditRecordSchema,
  auditSchema,
  seriesSchema,
  summarySchema,
} from '../../admin/schemas/overview.ts'
import type { policySchema, validationSchema } from '../../admin/schemas/policy.ts'
import type { rulesSchema } from '../../admin/schemas/rules.ts'
import type { SenderLimit, sendersSchema } from '../../admin/schemas/senders.ts'

/** Answers of the admin API, as its schemas describe them. */
export type { Status } from '../../admin/schemas/overview.ts'
export type { RuleDetail } from '../../admin/schemas/rules.ts'
export type { RefusalJson, SenderCard, SenderLimit } from '../../admin/schemas/senders.ts'
export type { Suggestion } from '../../admin/schemas/suggest.ts'

export type Problem = z.infer<typeof problemSchema>
export type Summary = z.infer<typeof summarySchema>
export type Range = Summary['range']
export type TopList = Summary['topBlocked']['clients']
export type Series = z.infer<typeof seriesSchema>
export type SeriesPoint = Series['points'][number]
export type Rules = z.infer<typeof rulesSchema>
export type Rule = Rules['rules'][number]
export type Senders = z.infer<typeof sendersSchema>
export type Alert = z.infer<typeof alertSchema>
export type AlertList = z.infer<typeof alertsSchema>
export type AuditRecord = z.infer<typeof auditRecordSchema>
export type Audit = z.infer<typeof auditSchema>

export type Ban = z.infer<typeof banSchema>
export type Override = z.infer<typeof overrideSchema>
export type Exemption = z.infer<typeof exemptionSchema>
export type TierEntry = z.infer<typeof tierEntrySchema>
export type Entry = Ban | Override | Exemption | TierEntry
/** GET /policy */
export type Policy = z.infer<typeof policySchema>
export type Validation = z.infer<typeof validationSchema>

/** Lists of entries that operators add while a gate runs. */
export type EntryList = 'bans' | 'overrides' | 'exemptions' | 'tiers'

/** The part of POST /explain that is shown. */
export interface ExplanationJson {
  readonly ban?: { readonly reason: string } | undefined
  readonly exemptions: readonly { readonly name?: string | undefined; readonly exempts: boolean }[]
  readonly limits: readonly SenderLimit[]
  readonly skipped: readonly { readonly rule: string }[]
  readonly decision: {
    readonly allowed: boolean
    readonly outcome: string
    readonly reason: string
    readonly rule?: string | undefined
  }
}

export interface EntryPage {
  readonly entries: readonly Entry[]
  readonly total: number
  readonly next: string | null
}

type EventSchemas = typeof EVENT_SCHEMAS

/** Events of the stream, with the type of their data. */
export type LiveEvent = {
  readonly [Type in keyof EventSchemas]: {
    readonly type: Type
    readonly data: z.infer<EventSchemas[Type]>
  }
}[keyof EventSchemas]
export type Tick = z.infer<EventSchemas['tick']>
export type RefusalEvent = z.infer<EventSchemas['refusal']>
