import { notice } from '../state/notice.ts'
import { Icon } from './icon.tsx'

/** Reports the last change, with its undo. */
export function NoticeBar() {
  const shown = notice.value
  return (
    <div class="notice-bar" role="status">
      {shown && (
        <p class={shown.isError ? 'notice critical' : 'notice'}>
          <Icon name={shown.isError ? 'critical' : 'ok'} /> <span>{shown.text}</span>
          {shown.undo && (
            <button type="button" class="link" onClick={shown.undo}>
              Undo
            </button>
          )}
          <button
            type="button"
            class="icon-button"
            aria-label="Close this notice"
            onClick={() => {
              notice.value = undefined
            }}
          >
            <Icon name="close" />
          </button>
        </p>
      )}
    </div>
  )
}
