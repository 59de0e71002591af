export { ROLES, type Role } from './access/roles.ts'
export type { AdminPolicyFiles } from './admin-policy-files.ts'
export { type AdminServer, type AdminServerOptions, adminServer } from './admin-server.ts'
export {
  type AuditChange,
  type AuditLog,
  type AuditPage,
  type AuditRecord,
  keepAuditLog,
} from './audit-log.ts'
export type { ServerCheck } from './schemas/overview.ts'
export type { Suggestion } from './schemas/suggest.ts'
export type { AdminBroker, FurtherChecks, LimitSuggester, SuggestionOptions } from './state/admin-state.ts'
