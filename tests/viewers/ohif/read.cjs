// Runs the published reader of Structured Reports of OHIF, with the viewer's own parts stubbed and its real adapters, and prints
// as JSON what the viewer would show: node read.cjs BUNDLE SR.dcm IMAGE.dcm...
const fs = require('fs');
const Module = require('module');
const path = require('path');
const { JSDOM } = require('jsdom');

const page = new JSDOM('<!doctype html><html><body></body></html>');
for (const name of ['document', 'HTMLElement', 'Element', 'Node', 'Event', 'CustomEvent', 'MouseEvent', 'KeyboardEvent',
  'HTMLCanvasElement', 'Image', 'ImageData', 'DOMParser', 'SVGElement', 'Document', 'HTMLDivElement']) {
  try { globalThis[name] = page.window[name]; } catch (error) { /* Node has its own, which cannot be replaced */ }
}
globalThis.window = page.window;
globalThis.self = globalThis;
globalThis.OffscreenCanvas = class {};
const dcmjs = require('dcmjs');

const TOOLS = ['Length', 'Bidirectional', 'EllipticalROI', 'CircleROI', 'ArrowAnnotate', 'Angle', 'CobbAngle', 'RectangleROI',
  'PlanarFreehandROI', 'SplineROI', 'LivewireContour', 'Probe', 'UltrasoundDirectional'];
const SR_CLASSES = {
  BasicTextSR: '1.2.840.10008.5.1.4.1.1.88.11',
  EnhancedSR: '1.2.840.10008.5.1.4.1.1.88.22',
  ComprehensiveSR: '1.2.840.10008.5.1.4.1.1.88.33',
  Comprehensive3DSR: '1.2.840.10008.5.1.4.1.1.88.34',
};
const PLANE = {
  frameOfReferenceUID: '1.2.3', columnCosines: [0, 1, 0], rowCosines: [1, 0, 0], rowPixelSpacing: 1, columnPixelSpacing: 1,
  imagePositionPatient: [0, 0, 0],
};

function readFile(file) {
  const bytes = fs.readFileSync(file);
  const content = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
  const parsed = dcmjs.data.DicomMessage.readFile(content);
  const dataset = dcmjs.data.DicomMetaDictionary.naturalizeDataset(parsed.dict);
  dataset._meta = dcmjs.data.DicomMetaDictionary.namifyDataset(parsed.meta);
  return dataset;
}

function imageIds(image) {
  const frames = Number(image.NumberOfFrames) || 1;
  const id = `wadors:${image.SOPInstanceUID}`;
  return frames > 1 ? Array.from({ length: frames }, (_, index) => `${id}#${index + 1}`) : [id];
}

async function main(bundle, srFile, imageFiles) {
  const adapters = await import('@cornerstonejs/adapters');
  const images = imageFiles.map(readFile);
  const report = readFile(srFile);
  report.imageId = 'wadors:sr';
  const drawn = [];
  const restored = [];

  const core = {
    metaData: {
      get: (type, id) => {
        if (type === 'imagePlaneModule') return PLANE;
        return type === 'instance' ? images.find((image) => id.includes(image.SOPInstanceUID)) : {};
      },
    },
    utilities: {
      imageToWorldCoords: (_, point) => [point[0], point[1], 0],
      worldToImageCoords: (_, point) => [point[0], point[1]],
      updatePlaneRestriction: () => {},
    },
    getEnabledElement: () => ({ viewport: { id: 'v' } }),
  };
  class Tool {}
  const annotation = {
    state: { addAnnotation: (added) => drawn.push(added) },
    config: { style: { setToolGroupToolStyles() {} } },
    locking: { setAnnotationLocked() {} },
  };
  const tools = new Proxy({ annotation, AnnotationTool: Tool, addTool() {} }, {
    get: (target, name) => {
      if (name in target) return target[name];
      return /Tool$/.test(String(name)) ? class extends Tool {} : {};
    },
  });
  class ImageSet {
    constructor(instances) { this.images = instances; this.uid = 'report'; }
    setAttributes(values) { Object.assign(this, values); }
  }
  const utils = {
    sortStudyInstances() {}, guid: () => 'guid', sopClassDictionary: SR_CLASSES, sortDisplaySetsCopy: (sets) => [...sets],
    formatPN: String, formatDate: (date) => date, formatTime: (time) => time,
  };
  let shown;
  const ohifCore = {
    __esModule: true,
    utils,
    classes: {
      ImageSet,
      MetadataProvider: {
        getUIDsFromImageID: (id) => {
          const [uid, frame] = id.split(':').slice(-1)[0].split('#');
          return { SOPInstanceUID: uid, frameNumber: frame ? Number(frame) : undefined };
        },
      },
    },
    DicomMetadataStore: { getInstance: () => shown.instance },
    log: console,
    ExtensionManager: class {},
    default: { utils, log: console },
  };
  const imageSet = {
    displaySetInstanceUID: 'images', images, FrameOfReferenceUID: images[0]?.FrameOfReferenceUID,
    sopClassUids: [images[0]?.SOPClassUID],
  };
  const servicesManager = {
    services: {
      displaySetService: {
        activeDisplaySets: [imageSet], EVENTS: { DISPLAY_SETS_ADDED: 'added' }, subscribe() {}, addDisplaySets() {},
        getDisplaySetByUID: (uid) => (uid === 'images' ? imageSet : shown), getDisplaySetsBy: () => [],
        getDisplaySetCache: () => new Map(),
      },
      measurementService: {
        getSourceMappings: () => TOOLS.map((tool) => ({ annotationType: tool, toMeasurementSchema() {} })),
        getSource() {},
        addRawMeasurement: (...added) => { restored.push(added[1]); return 'measurement'; },
      },
      customizationService: { getCustomization: () => undefined },
      uiNotificationService: { show() {} },
    },
  };
  const dataSource = {
    getImageIdsForDisplaySet: (set) => (set.images || []).flatMap(imageIds), retrieve: { bulkDataURI() {} },
  };
  const extensionManager = { getDataSources: () => [dataSource], getActiveDataSource: () => [dataSource] };
  const stubs = {
    '@ohif/core': ohifCore,
    '@cornerstonejs/adapters': adapters,
    '@cornerstonejs/core': core,
    '@cornerstonejs/tools': tools,
    'gl-matrix': require('gl-matrix'),
    '@ohif/extension-cornerstone': {
      Enums: { CORNERSTONE_3D_TOOLS_SOURCE_NAME: 'Cornerstone3DTools', CORNERSTONE_3D_TOOLS_SOURCE_VERSION: '0.1' },
      usePositionPresentationStore: () => ({ setPositionPresentation() {} }),
      OHIFCornerstoneViewport() {},
    },
    '@ohif/i18n': { __esModule: true, default: { t: (text) => text } },
    '@ohif/ui-next': { useViewportGrid: () => [{ viewports: new Map(), activeViewportId: 'v' }, {}] },
    '@ohif/core/src/contextProviders/SystemProvider': { useSystem: () => ({ servicesManager }) },
  };
  const load = Module._load;
  Module._load = function loadOrStub(name, ...rest) { return name in stubs ? stubs[name] : load.call(this, name, ...rest); };
  const extension = require(path.resolve(bundle)).default;
  Module._load = load;

  const handlers = extension.getSopClassHandlerModule({ servicesManager, extensionManager });
  const handler = handlers.find((each) => each.sopClassUids.includes(report.SOPClassUID));
  const { warn, log } = console;
  console.warn = () => {};
  console.log = () => {};
  [shown] = handler.getDisplaySetsFromSeries([report]);
  let problem = '';
  try { await shown.load(); } catch (error) { problem = error.message; }
  console.warn = warn;
  console.log = log;
  const groups = (shown.measurements || []).map((group) => ({
    tracking: group.TrackingIdentifier,
    loaded: group.loaded,
    image: group.imageId || '',
    labels: group.labels.map((each) => [each.label, each.value]),
  }));
  console.log(JSON.stringify({ problem, rehydratable: Boolean(shown.isRehydratable), groups, drawn: drawn.length }));
}

main(process.argv[2], process.argv[3], process.argv.slice(4)).then(() => process.exit(0));
