export { nearest } from '../core/option-names.ts'
