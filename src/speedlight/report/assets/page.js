(() => {
  'use strict';
  const all = (q, from) => Array.from((from || document).querySelectorAll(q));
  const tip = document.getElementById('tip'), body = document.querySelector('#ops tbody');
  const rows = body ? all('tr', body) : [], byIndex = new Map(rows.map(r => [r.dataset.i, r]));
  const dots = all('.dot'), dotOf = new Map(dots.map(d => [d.dataset.i, d]));
  const heads = all('#ops thead th'), named = heads.map(h => h.textContent.trim());
  const cell = (row, name) => row.cells[named.indexOf(name)].textContent;

  const root = document.documentElement, mode = document.querySelector('.mode');
  mode.addEventListener('click', () => {
    const dark = root.dataset.theme ? root.dataset.theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
    root.dataset.theme = dark ? 'light' : 'dark';
  });

  const show = (index, x, y) => {
    const row = byIndex.get(index);
    if (!row) return;
    tip.textContent = '';
    const add = (tag, words, to) => { const e = document.createElement(tag); e.textContent = words; (to || tip).append(e); return e; };
    const path = row.cells[0].querySelector('small');
    add('b', row.cells[0].firstChild.textContent);
    if (path) add('small', path.textContent);
    const list = add('dl', '');
    for (let i = 1; i < row.cells.length; i++) { add('dt', named[i], list); add('dd', row.cells[i].textContent.trim(), list); }
    tip.style.display = 'block';
    const box = tip.getBoundingClientRect();
    tip.style.left = Math.max(6, Math.min(x + 14, innerWidth - box.width - 8)) + 'px';
    tip.style.top = Math.max(6, y + 14 + box.height > innerHeight ? y - box.height - 12 : y + 14) + 'px';
  };
  const hide = () => { tip.style.display = 'none'; };
  const heat = (index, on) => { for (const e of [byIndex.get(index), dotOf.get(index)]) if (e) e.classList.toggle('hot', on); };

  const marks = dots.concat(all('.icicle [data-i]'));
  for (const mark of marks) {
    const i = mark.dataset.i;
    mark.addEventListener('mousemove', e => { show(i, e.clientX, e.clientY); heat(i, true); });
    mark.addEventListener('mouseleave', () => { hide(); heat(i, false); });
    mark.addEventListener('click', () => { const r = byIndex.get(i); if (r) { narrow('', ''); r.scrollIntoView({block: 'center'}); heat(i, true); setTimeout(() => heat(i, false), 2500); } });
  }
  dots.forEach((dot, n) => {
    if (n === 0) dot.setAttribute('tabindex', '0');
    dot.addEventListener('focus', () => { const b = dot.getBoundingClientRect(); show(dot.dataset.i, b.right, b.top); heat(dot.dataset.i, true); });
    dot.addEventListener('blur', () => { hide(); heat(dot.dataset.i, false); });
    dot.addEventListener('keydown', e => {
      const step = {ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1}[e.key];
      if (step) { e.preventDefault(); const next = dots[(n + step + dots.length) % dots.length]; dots.forEach(d => d.setAttribute('tabindex', '-1')); next.setAttribute('tabindex', '0'); next.focus(); }
      if (e.key === 'Enter') dot.dispatchEvent(new MouseEvent('click'));
      if (e.key === 'Escape') hide();
    });
  });
  for (const row of rows) {
    row.addEventListener('mouseenter', () => heat(row.dataset.i, true));
    row.addEventListener('mouseleave', () => heat(row.dataset.i, false));
  }

  if (!body) return;
  const box = document.getElementById('filter'), chips = all('.chip'), count = document.getElementById('count');
  let bound = '', kind = '';
  const apply = () => {
    const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const hay = row.textContent.toLowerCase();
      const keep = (!bound || cell(row, 'Bound') === bound) && (!kind || cell(row, 'Kind') === kind) && words.every(w => hay.includes(w));
      row.hidden = !keep; shown += keep;
      const dot = dotOf.get(row.dataset.i);
      if (dot) dot.classList.toggle('dim', !keep);
    }
    chips.forEach(c => c.setAttribute('aria-pressed', String(c.dataset.bound === bound)));
    count.textContent = shown === rows.length ? '' : shown + ' of ' + rows.length + (kind ? ' · ' + kind : '');
  };
  const narrow = (b, k) => { bound = b; kind = k; if (!b && !k) box.value = ''; apply(); };
  box.addEventListener('input', apply);
  chips.forEach(c => c.addEventListener('click', () => narrow(bound === c.dataset.bound ? '' : c.dataset.bound, '')));
  all('svg [data-bound]').forEach(e => e.addEventListener('click', () => narrow(bound === e.dataset.bound ? '' : e.dataset.bound, '')));
  all('svg [data-kind]').forEach(e => e.addEventListener('click', () => narrow('', kind === e.dataset.kind ? '' : e.dataset.kind)));

  // "1.20 ms", "7.00 GiB", "1.5 TFLOP", "97 %", "4,064" as numbers; what is unknown comes last.
  const factors = {n: 1e-9, 'µ': 1e-6, m: 1e-3, k: 1e3, K: 1e3, M: 1e6, G: 1e9, T: 1e12, P: 1e15, E: 1e18};
  const size = text => {
    const found = /^([-−\d.,e+]+)\s*(\S*)$/.exec(text.trim());
    if (!found) return -Infinity;
    const unit = found[2], prefix = unit.length > 1 && unit !== 'FLOP' ? factors[unit[0]] || 1 : 1;
    const binary = /^[KMGTP]iB$/.test(unit) ? 1024 ** ('KMGTP'.indexOf(unit[0]) + 1) : prefix;
    return parseFloat(found[1].replace(/,/g, '')) * binary;
  };
  heads.forEach((head, column) => head.querySelector('button').addEventListener('click', () => {
    const up = head.getAttribute('aria-sort') === 'descending';
    heads.forEach(h => h.removeAttribute('aria-sort'));
    head.setAttribute('aria-sort', up ? 'ascending' : 'descending');
    const words = ['Op', 'Kind', 'Step', 'Bound'].includes(named[column]);
    const value = row => words ? row.cells[column].textContent : size(row.cells[column].textContent);
    const sign = up ? 1 : -1;
    rows.map(r => [value(r), r]).sort(([a], [b]) => sign * (typeof a === 'string' ? a.localeCompare(b) : a - b)).forEach(([, r]) => body.append(r));
  }));
})();
