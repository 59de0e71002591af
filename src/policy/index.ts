export type {
  CompiledPolicy,
  CompiledRuleOptions,
  LoadedPolicy,
  MiddlewareEntry,
} from './compiled-policy-types.ts'
export { loadPolicy, type PolicyInput } from './load-policy.ts'
export { hasHiddenSecret, redact, restoreSecrets } from './redact.ts'
export { type PolicyDocument, policyJsonSchema } from './schema.ts'
export { findPolicyWarnings } from './warnings.ts'
export { type PolicyWatch, type WatchOptions, watchPolicy } from './watch-policy.ts'
