// The MedSigLIP section on the study and series pages of Orthanc Explorer (jQuery 1.7, jQuery Mobile).
(function () {
  var COLOURS = { reported: '#2f7d4f', failed: '#b3372f' };
  var timer = null;

  function element(name, text, style) {
    var made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (style) made.style.cssText = style;
    return made;
  }

  function link(text, href) {
    var made = element('a', text, 'color: #2f6f9f; margin-right: 18px;');
    made.href = href;
    made.target = '_blank';
    made.setAttribute('rel', 'external noopener');
    return made;
  }

  function button(text, run) {
    var made = element('button', text, 'padding: 6px 14px; margin: 10px 8px 0 0; border: 1px solid #9aa7b3; ' +
      'border-radius: 6px; background: #fff; color: #1c232b; font: inherit; cursor: pointer;');
    made.setAttribute('data-role', 'none');
    made.onclick = run;
    return made;
  }

  function bars(labels) {
    var table = element('table', undefined, 'border-collapse: collapse; margin-top: 8px;');
    labels.slice(0, 5).forEach(function (label) {
      var row = table.insertRow();
      row.appendChild(element('td', label.label, 'padding: 2px 16px 2px 0; min-width: 9em;'));
      row.appendChild(element('td', label.value.toFixed(3), 'padding-right: 12px; font-variant-numeric: tabular-nums;'));
      var track = element('div', undefined, 'width: 160px; height: 10px; background: #e7ebef; border-radius: 5px;');
      var width = Math.min(100, label.value * 100) + '%;';
      track.appendChild(element('div', undefined, 'height: 10px; background: #2f6f9f; border-radius: 5px; width: ' + width));
      row.appendChild(element('td')).appendChild(track);
      row.appendChild(element('td', label.series_description, 'padding-left: 16px; color: #66717d;'));
      if (label.domain) row.appendChild(element('td', label.domain, 'padding-left: 16px; color: #b3372f;'));
    });
    return table;
  }

  function show(box, level, id, answer) {
    var base = '../medsiglip/' + level + '/' + id + '/';
    box.innerHTML = '';
    var columns = box.appendChild(element('div', undefined, 'display: flex; gap: 18px;'));
    var left = columns.appendChild(element('div', undefined, 'flex: 1; min-width: 0; overflow-wrap: anywhere;'));
    if (answer.reports.length) {
      var sheet = element('img', undefined, 'max-height: 210px; max-width: 100%; border-radius: 6px;');
      sheet.src = base + 'contact-sheet';
      sheet.alt = 'Contact sheet';
      var frame = link('', base + 'contact-sheet');
      frame.style.cssText = 'flex: none; max-width: 40%;';
      frame.appendChild(sheet);
      sheet.onerror = function () { frame.remove(); };
      columns.appendChild(frame);
    }
    var head = left.appendChild(element('div', undefined, 'margin-bottom: 2px;'));
    head.appendChild(element('b', 'MedSigLIP '));
    head.appendChild(element('span', answer.state, 'margin-left: 8px; padding: 1px 10px; border-radius: 10px; ' +
      'color: #fff; background: ' + (COLOURS[answer.state] || '#66717d')));
    if (answer.instances) {
      var count = answer.instances + (answer.instances === 1 ? ' instance' : ' instances');
      head.appendChild(element('span', count, 'margin-left: 12px; color: #66717d;'));
    }
    if (answer.message) left.appendChild(element('div', answer.message, 'color: #7a4b00;'));
    if (answer.labels.length) {
      left.appendChild(bars(answer.labels));
      left.appendChild(element('div', answer.notice, 'color: #7a4b00; font-size: 13px; margin: 6px 0;'));
    }
    if (answer.reports.length) {
      left.appendChild(link('Report', base + 'report?format=html'));
      left.appendChild(link('Contact sheet', base + 'contact-sheet'));
      left.appendChild(link('Report in Orthanc', '#instance?uuid=' + answer.reports[0].instance)).target = '';
      left.appendChild(link('Search by words', '../medsiglip/search?format=html'));
    }
    var messages = element('div', '', 'color: #66717d; font-size: 13px; margin-top: 6px; white-space: pre-line; ' +
      'overflow-wrap: anywhere;');
    var row = left.appendChild(element('div'));
    row.appendChild(button('Process now', function () {
      $.ajax({
        url: base + 'process', type: 'POST', data: '{}',
        success: function () { load(box, level, id); }, error: failed(messages)
      });
    }));
    if (answer.reports.length) {
      row.appendChild(button('Find similar', function () {
        $.ajax({ url: base + 'similar', dataType: 'json', cache: false, error: failed(messages), success: function (found) {
          messages.textContent = '';
          if (found.similar.length) messages.appendChild(element('div', found.notice, 'color: #7a4b00;'));
          var table = messages.appendChild(element('table', undefined, 'border-collapse: collapse; margin-top: 4px;'));
          found.similar.forEach(function (one) {
            var row = table.insertRow();
            var text = one.description || 'study without description';
            row.appendChild(element('td', one.similarity.toFixed(3), 'padding-right: 16px; text-align: right; ' +
              'font-variant-numeric: tabular-nums;'));
            var cell = row.appendChild(element('td'));
            if (one.study) cell.appendChild(link(text, '#study?uuid=' + one.study)).target = '';
            else cell.textContent = text + ' (not in this Orthanc)';
            row.appendChild(element('td', one.modalities.concat(one.body_parts).join(' ')));
          });
          if (!found.similar.length) messages.textContent = 'Nothing similar was found.';
        } });
      }));
    }
    box.appendChild(messages);
    if (['queued', 'sending', 'sent', 'processing', 'reporting'].indexOf(answer.state) >= 0) {
      timer = setTimeout(function () { load(box, level, id); }, 3000);
    }
  }

  function failed(messages) {
    return function (request) {
      var message = 'HTTP ' + request.status;
      try { message = JSON.parse(request.responseText).error; } catch (error) { /* not ours */ }
      messages.textContent = message;
    };
  }

  function load(box, level, id) {
    clearTimeout(timer);
    $.ajax({
      url: '../medsiglip/' + level + '/' + id + '/status', dataType: 'json', cache: false,
      success: function (answer) { if (box.parentNode) show(box, level, id, answer); },
      error: failed(box)
    });
  }

  function section(level, page) {
    $(page).live('pagebeforeshow', function () {
      $('.medsiglip').remove();
      clearTimeout(timer);
      if (!$.mobile.pageData || !$.mobile.pageData.uuid) return;
      var box = element('div', 'MedSigLIP: loading ...', 'background: #fff; color: #1c232b; text-shadow: none; ' +
        'border: 1px solid #c9d1d9; border-radius: 8px; padding: 14px 18px; margin: 0 0 18px; ' +
        'font-size: 15px; line-height: 1.5;');
      box.className = 'medsiglip';
      $(page + ' [data-role=content]').prepend(box);
      load(box, level, $.mobile.pageData.uuid);
    });
  }

  section('studies', '#study');
  section('series', '#series');
})();
