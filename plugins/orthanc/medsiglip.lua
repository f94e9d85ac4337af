-- Auto-routing for an Orthanc without the Python plugin: stable studies go to dicom_pipeline. Name this file in "LuaScripts".
-- What dicom_pipeline made itself is not sent, and a study in which nothing new but reports has come is not sent again.

local MODALITY = 'medsiglip'              -- a name in "DicomModalities"; or, with DICOMweb, in "DicomWeb" / "Servers"
local DICOMWEB = false                    -- true: STOW-RS by the DICOMweb plugin, in place of C-STORE
local PIPELINE = 'http://127.0.0.1:8448'  -- where to announce the number of instances; '' to let the quiet time decide
local WANTED = {CT = true, MR = true, CR = true, DX = true, MG = true, XA = true, US = true}
local SENT = '4711'                       -- metadata of the study that holds what was sent

local HEADERS = {['Content-Type'] = 'application/json'} -- Orthanc 1.10.1 ends with an empty table here
local OWN_DEVICE_UID = '2.25.54587332841861929712484307021296368915'

local function isOwn(instanceId)
  local tags = ParseJson(RestApiGet('/instances/' .. instanceId .. '/simplified-tags'))
  for _, item in pairs(tags['ContributingEquipmentSequence'] or {}) do
    if item['DeviceUID'] == OWN_DEVICE_UID then
      return true
    end
  end
  return false
end

function OnStableStudy(studyId, tags, metadata)
  local resources, count = {}, 0
  for _, series in pairs(ParseJson(RestApiGet('/studies/' .. studyId .. '/series'))) do
    if WANTED[series['MainDicomTags']['Modality']] and not isOwn(series['Instances'][1]) then
      table.insert(resources, series['ID'])
      count = count + #series['Instances']
    end
  end
  if count == 0 or metadata[SENT] == tostring(count) then
    return
  end
  if PIPELINE ~= '' then
    HttpPut(PIPELINE .. '/studies/' .. tags['StudyInstanceUID'] .. '/expected', '{"instances": ' .. count .. '}', HEADERS)
  end
  local path = '/modalities/' .. MODALITY .. '/store'
  if DICOMWEB then
    path = '/dicom-web/servers/' .. MODALITY .. '/stow'
  end
  -- a job of Orthanc's: it outlives a restart, and its failure shows in the list of jobs
  RestApiPost(path, DumpJson({Resources = resources, Synchronous = false}))
  RestApiPut('/studies/' .. studyId .. '/metadata/' .. SENT, tostring(count))
end
